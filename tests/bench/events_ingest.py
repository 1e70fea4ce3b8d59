"""Events a second through POST /v1/events in batches of 100, each batch durable before its 202 (SQLite, FULL).

python tests/bench/events_ingest.py
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
from record import Recording
from running_shop import running_shop

BATCH_EVENTS, RUN_S = 100, 15.0
CLIENTS = (1, 4)


async def load(url: str, clients: int) -> dict[str, Any]:
    """`clients` connections that send batch after batch for RUN_S seconds."""
    accepted, latencies_ms = 0, []
    until_s = time.monotonic() + RUN_S

    async def client(number: int) -> None:
        nonlocal accepted
        async with httpx.AsyncClient(base_url=url, timeout=10) as http:
            batch = 0
            while time.monotonic() < until_s:
                batch += 1
                events = [
                    {
                        "event_id": f"{clients}-{number}-{batch}-{event}",
                        "type": "view",
                        "user_id": f"u{event}",
                        "item_id": f"i{event}",
                    }
                    for event in range(BATCH_EVENTS)
                ]
                begun_s = time.monotonic()
                response = await http.post("/v1/events", json={"events": events})
                assert response.status_code == 202, response.text
                accepted += response.json()["accepted"]
                latencies_ms.append((time.monotonic() - begun_s) * 1000)

    begun_s = time.monotonic()
    await asyncio.gather(*(client(number) for number in range(clients)))
    latencies_ms.sort()
    return {
        "events_per_s": accepted / (time.monotonic() - begun_s),
        "p50_ms": latencies_ms[len(latencies_ms) // 2],
        "p99_ms": latencies_ms[int(len(latencies_ms) * 0.99)],
    }


def main() -> None:
    recording = Recording("events_ingest")
    with running_shop() as shop:
        recording.write({f"{clients} clients": asyncio.run(load(shop.url, clients)) for clients in CLIENTS})


if __name__ == "__main__":
    main()
