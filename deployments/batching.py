"""Queries of one batch are those that came while the batch before them was worked on; nobody waits for company.

Serve's own batching makes up a batch when its first query comes, also while another is worked on: where no query may
wait for others, its batches are of one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Batches(Generic[Q, A]):
    """One batch at a time, in a thread; for one event loop. How many may wait is up to whoever asks."""

    def __init__(self, answer: Callable[[Sequence[Q]], Sequence[A]], *, most: int) -> None:
        """`answer`: blocking, one answer per query in their order; `most` queries a batch."""
        self._answer, self._most = answer, most
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, query: Q) -> A:
        """Its answer, or what its batch raised; who is cancelled before its batch begins is left out of it."""
        turn: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((query, turn))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await turn

    async def _work(self) -> None:
        while batch := self._next():
            try:
                answers = await asyncio.to_thread(self._answer, [query for query, _ in batch])
            except Exception as error:
                for _, turn in batch:
                    if not turn.done():
                        turn.set_exception(error)
            else:
                for (_, turn), answer in zip(batch, answers, strict=True):
                    if not turn.done():
                        turn.set_result(answer)

    def _next(self) -> list[tuple[Q, asyncio.Future[A]]]:
        """Those that came first and still wait; empty where nobody does."""
        batch: list[tuple[Q, asyncio.Future[A]]] = []
        while self._waiting and len(batch) < self._most:
            query, turn = self._waiting.popleft()
            if not turn.done():
                batch.append((query, turn))
        return batch
