"""A batch is whatever came while the last one was worked on, and everybody gets an answer of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from deployments.batching import Batches

WITHIN_S = 10.0
MISSED = 77
"""A query that gets no answer."""


class Held:
    """Answers each query with its double, a batch only once it is let go."""

    def __init__(self, error: BaseException = ValueError("unlucky")) -> None:
        self.error = error
        self.batches: list[list[int]] = []
        self.begun, self.let_go = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, queries: Sequence[int]) -> list[int]:
        self.batches.append(list(queries))
        self.begun.release()
        assert self.let_go.acquire(timeout=WITHIN_S)
        if 13 in queries:
            raise self.error
        return [2 * query for query in queries if query != MISSED]

    async def is_at_work(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=WITHIN_S)


async def asked(batches: Batches[int, int], *queries: int) -> list[asyncio.Task[int]]:
    """Their tasks, all of them waiting in the order given."""
    tasks = [asyncio.create_task(batches.ask(query)) for query in queries]
    await asyncio.sleep(0)
    return tasks


def test_those_that_came_meanwhile_go_together() -> None:
    async def run() -> None:
        held = Held()
        batches = Batches(held, most=3)
        first = await asked(batches, 0)
        await held.is_at_work()
        others = await asked(batches, 1, 2, 3, 4)
        for _ in range(3):
            held.let_go.release()
        assert await asyncio.gather(*first, *others) == [0, 2, 4, 6, 8]
        assert held.batches == [[0], [1, 2, 3], [4]]

    asyncio.run(run())


def test_one_that_gave_up_is_left_out_of_its_batch() -> None:
    async def run() -> None:
        held = Held()
        batches = Batches(held, most=8)
        (first,) = await asked(batches, 0)
        await held.is_at_work()
        gone, stays = await asked(batches, 1, 2)
        gone.cancel()
        first.cancel()
        for _ in range(2):
            held.let_go.release()
        assert await stays == 4
        assert held.batches == [[0], [2]]

    asyncio.run(run())


@pytest.mark.parametrize("error", [ValueError("unlucky"), KeyboardInterrupt("unlucky"), StopIteration("unlucky")])
def test_a_failed_batch_fails_nobody_else(error: BaseException) -> None:
    async def run() -> None:
        held = Held(error)
        batches = Batches(held, most=2)
        (first,) = await asked(batches, 0)
        await held.is_at_work()
        unlucky, beside, after = await asked(batches, 13, 1, 2)
        for _ in range(3):
            held.let_go.release()
        assert await first == 0
        for task in (unlucky, beside):
            with pytest.raises(Exception, match="unlucky"):
                await asyncio.wait_for(task, WITHIN_S)
        assert await asyncio.wait_for(after, WITHIN_S) == 4
        (later,) = await asked(batches, 5)
        held.let_go.release()
        assert await asyncio.wait_for(later, WITHIN_S) == 10

    asyncio.run(run())


def test_an_answer_too_few_is_an_error_for_all() -> None:
    async def run() -> None:
        held, sizes = Held(), list[int]()
        batches = Batches(held, most=3, seen=sizes.append)
        (first,) = await asked(batches, 0)
        await held.is_at_work()
        others = await asked(batches, 1, MISSED)
        for _ in range(2):
            held.let_go.release()
        assert await first == 0
        for task in others:
            with pytest.raises(RuntimeError, match="1 answers to 2 queries"):
                await asyncio.wait_for(task, WITHIN_S)
        assert sizes == [1, 2]

    asyncio.run(run())
