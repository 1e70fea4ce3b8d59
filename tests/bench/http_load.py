"""A lean HTTP load in a process of its own: N connections, each sending its next request when the last is answered.

python tests/bench/http_load.py URL CLIENTS SECONDS BODIES_AND_HEADERS_JSON_FILE
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from typing import Any
from urllib.parse import urlsplit


async def one_client(
    url: str, number: int, bodies: list[bytes], until_s: float, headers: dict[str, str], seen: dict[str, Any]
) -> None:
    """One keep-alive connection; as long after a 503 as its Retry-After says it asks again."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    turn = number
    head = f"POST {place.path} HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    while time.monotonic() < until_s:
        body = bodies[turn % len(bodies)]
        turn += 7
        begun_s = time.perf_counter()
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer_head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in answer_head.lower().split(b"\r\n")[1:] if b": " in line)
        answer = await reader.readexactly(int(fields[b"content-length"]))
        took_ms = (time.perf_counter() - begun_s) * 1000
        status = answer_head.split(b" ", 2)[1].decode()
        seen["statuses"][status] = seen["statuses"].get(status, 0) + 1
        if status == "200":
            seen["latencies_ms"].append(took_ms)
        elif b"retry-after" in fields:
            left_s = max(until_s - time.monotonic(), 0.0)
            await asyncio.sleep(min(float(fields[b"retry-after"]), left_s))
        if b'"degraded":["' in answer:
            seen["degraded_ms"].append(took_ms)
    writer.close()


async def run(url: str, clients: int, seconds: float, bodies: list[bytes], headers: dict[str, str]) -> dict[str, Any]:
    """The latencies of good answers and of degraded ones among them, and all statuses; a 503 is waited out."""
    seen: dict[str, Any] = {"latencies_ms": [], "statuses": {}, "degraded_ms": []}
    until_s = time.monotonic() + seconds
    await asyncio.gather(*(one_client(url, number, bodies, until_s, headers, seen) for number in range(clients)))
    return seen


def load(
    url: str, clients: int, seconds: float, bodies: list[Any], *, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """The same from another process, summed up: requests and good answers a second, p50, p95, p99, errors, degraded."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"bodies": bodies, "headers": headers or {}}, file)
        file.flush()
        arguments = [sys.executable, __file__, url, str(clients), str(seconds), file.name]
        seen = json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)
    requests = sum(seen["statuses"].values())
    return {
        "requests": requests,
        "requests_per_s": round(requests / seconds, 1),
        "answered_per_s": round(seen["statuses"].get("200", 0) / seconds, 1),
        **parts(seen["latencies_ms"]),
        "statuses": seen["statuses"],
        "degraded": len(seen["degraded_ms"]),
        "degraded_latency": parts(seen["degraded_ms"]),
    }


def parts(latencies_ms: list[float]) -> dict[str, float]:
    """p50, p95 and p99; empty for no latencies."""
    ordered = sorted(latencies_ms)
    last = len(ordered) - 1
    return {f"p{part}_ms": round(ordered[min(len(ordered) * part // 100, last)], 2) for part in (50, 95, 99) if ordered}


if __name__ == "__main__":
    url, clients, seconds, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        said = json.load(file)
    bodies = [json.dumps(body).encode() for body in said["bodies"]]
    print(json.dumps(asyncio.run(run(url, int(clients), float(seconds), bodies, said["headers"]))))
