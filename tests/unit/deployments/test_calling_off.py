"""Answers that nobody waits for are called off in turn, and a replica that hangs fills no queue."""

from __future__ import annotations

import threading
from typing import Any, cast

from deployments.adapter import call_off
from tests.serving_shop import wait_until

MOST = 64


def test_only_so_many_wait_to_be_called_off() -> None:
    gate, told = threading.Event(), list[int]()

    class Response:
        def cancel(self) -> None:
            gate.wait(30)
            told.append(1)

    for _ in range(3 * MOST):
        call_off(cast(Any, Response()))
    gate.set()
    wait_until(lambda: len(told) == MOST, timeout_s=30)
    call_off(cast(Any, Response()))
    wait_until(lambda: len(told) == MOST + 1, timeout_s=30)
