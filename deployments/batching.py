"""Queries of one batch are those that came while the batch before them was worked on; nobody waits for company.

Serve's own batching makes up a batch when its first query comes, also while another is worked on: where no query may
wait for others, its batches are of one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Batches(Generic[Q, A]):
    """One batch at a time, in a thread of its own; for one event loop. How many may wait is up to whoever asks."""

    def __init__(
        self, answer: Callable[[Sequence[Q]], Sequence[A]], *, most: int, seen: Callable[[int], None] = lambda _: None
    ) -> None:
        """`answer`: blocking, one answer per query in their order; `most` queries a batch; `seen` is told its size."""
        self._answer, self._most, self._seen = answer, most, seen
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
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
            queries, turns = [query for query, _ in batch], [turn for _, turn in batch]
            answers = await asyncio.get_running_loop().run_in_executor(self._thread, self._answered, queries)
            for turn, answer in zip(turns, answers, strict=True):
                if turn.done():
                    continue
                if isinstance(answer, _Failed):
                    turn.set_exception(answer.error)
                else:
                    turn.set_result(answer)

    def _answered(self, queries: Sequence[Q]) -> Sequence[A | _Failed]:
        """One for each query whatever happens: a batch that fails must leave nobody waiting."""
        try:
            self._seen(len(queries))
            answers = self._answer(queries)
            if len(answers) != len(queries):
                raise RuntimeError(f"{len(answers)} answers to {len(queries)} queries")
        except BaseException as error:
            return [_Failed(error)] * len(queries)
        return answers

    def _next(self) -> list[tuple[Q, asyncio.Future[A]]]:
        """Those that came first and still wait; empty where nobody does."""
        batch: list[tuple[Q, asyncio.Future[A]]] = []
        while self._waiting and len(batch) < self._most:
            query, turn = self._waiting.popleft()
            if not turn.done():
                batch.append((query, turn))
        return batch


class _Failed:
    """What a batch raised, as each of its queries' answer; as something that a future takes and Serve passes on."""

    def __init__(self, error: BaseException) -> None:
        self.error = error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
        if isinstance(error, StopIteration):
            self.error = RuntimeError(f"StopIteration: {error}")
