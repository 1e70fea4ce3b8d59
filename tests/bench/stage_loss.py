"""Killing the ranking and the retrieval replica under load: what the client sees, and how long it waits.

python tests/bench/stage_loss.py [--shop FOLDER] [--seconds 30] [--record]
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import ray
from http_load import load
from ray import serve
from record import Recording
from serving_latency import PORT, prepare, sample_shop, start, users_of

from training.contracts.shop import Shop

CLIENTS = 8


def kill(stage: str) -> None:
    """SIGKILL to every replica of the stage."""
    for process in psutil.Process().children(recursive=True):
        if f"ServeReplica:shopkeeper:{stage}" in " ".join(process.cmdline()):
            os.kill(process.pid, signal.SIGKILL)


def lose(stage: str, bodies: list[Any], seconds: float) -> dict[str, Any]:
    """Load before, then load through the loss of the stage until it is back."""
    url = f"http://127.0.0.1:{PORT}/v1/recommendations"
    normal = load(url, CLIENTS, seconds / 2, bodies)
    threading.Timer(2, kill, [stage]).start()
    through = load(url, CLIENTS, seconds, bodies)
    while httpx.post(url, json=bodies[0]).json()["degraded"]:
        time.sleep(0.2)
    ratio = through["degraded_latency"].get("p99_ms", 0) / normal["p99_ms"]
    return {
        "normal": normal, "through": through, "p99_ratio_of_degraded": round(ratio, 2),
        "errors": sum(count for status, count in through["statuses"].items() if status != "200"),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shop", type=Path)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    recording = Recording("stage_loss", seeds=[0])
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(asked.shop or sample_shop(Path(folder) / "shop"))
        start(prepare(shop, Path(folder)), echo=False)
        bodies = [{"user_id": user, "limit": 10} for user in users_of(shop)]
        load(f"http://127.0.0.1:{PORT}/v1/recommendations", CLIENTS, 3, bodies)
        figures = {stage: lose(stage, bodies, asked.seconds) for stage in ("ranking", "retrieval")}
        metrics = httpx.get(f"http://127.0.0.1:{PORT}/metrics").text.splitlines()
        figures["failures"] = [line for line in metrics if line.startswith("shopkeeper_stage_failures_total")]
        serve.shutdown()
        ray.shutdown()
    for name, said in figures.items():
        print(name, said)
    if asked.record:
        recording.write(figures)


if __name__ == "__main__":
    main()
