"""From an empty home to the first personal answer, and what the running system takes.

python tests/bench/first_answer.py
"""

from __future__ import annotations

import time
from typing import Any

import httpx
from record import Recording
from running_shop import RunningShop, running_shop

IDLE_CORES = 0.7


def personal(url: str, user_id: str) -> bool:
    """Whether an answer is there, undegraded, and not the one that a stranger gets."""
    answers = []
    for user in (user_id, "a stranger"):
        document = httpx.post(f"{url}/v1/recommendations", json={"user_id": user, "limit": 10}, timeout=10).json()
        if document["degraded"]:
            return False
        answers.append([item["item_id"] for item in document["items"]])
    return answers[0] != answers[1]


def known_user(shop: RunningShop) -> str:
    import pyarrow.parquet as pq

    return str(pq.read_table(shop.home / "shops/sample/events.parquet", columns=["user_id"])["user_id"][0].as_py())


def idle_usage(shop: RunningShop) -> Any:
    """Memory and cores once nothing trains or draws any more."""
    deadline_s = time.monotonic() + 300
    while time.monotonic() < deadline_s:
        status = shop.command("status")
        if status["training"] is None and status["usage"] and 0 < status["usage"]["cpu_cores"] < IDLE_CORES:
            return status["usage"]
        time.sleep(3)
    return shop.command("status")["usage"]


def main() -> None:
    recording = Recording("first_answer", seeds=[0])
    begun_s = time.monotonic()
    with running_shop() as shop:
        served_s = time.monotonic() - begun_s
        user = known_user(shop)
        assert personal(shop.url, user), "the first answer is not personal"
        answered_s = time.monotonic() - begun_s
        recording.write({"served_s": served_s, "first_personal_answer_s": answered_s, "idle": idle_usage(shop)})


if __name__ == "__main__":
    main()
