"""Keeps every answer as it was served: a bounded queue, written in groups after the answers were sent."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from deployments.state.records import ServedRow
from deployments.telemetry import Telemetry

LOGGER = logging.getLogger(__name__)
GROUP = 256
PAUSE_S = 0.05
RETRY_S = 0.5


class ServedLog:
    """`put` never waits: when the store cannot keep up, the oldest waiting answers are dropped and counted."""

    def __init__(
        self, write: Callable[[Sequence[ServedRow]], None], *, size: int, executor: Executor, telemetry: Telemetry
    ) -> None:
        self.write, self.size, self.executor, self.telemetry = write, size, executor, telemetry
        self._waiting: deque[ServedRow] = deque()
        self._writer: asyncio.Task[None] | None = None

    def put(self, row: ServedRow) -> None:
        if len(self._waiting) >= self.size:
            self._waiting.popleft()
            self.telemetry.count("served_log_dropped")
        self._waiting.append(row)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_waiting())

    async def flush(self) -> None:
        """Until everything put so far is written (or dropped)."""
        if self._writer is not None:
            await self._writer

    async def _write_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            await asyncio.sleep(PAUSE_S)
            group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
            try:
                await loop.run_in_executor(self.executor, self.write, group)
            except Exception as error:
                # Mostly the store is away: keep what fits, try again.
                LOGGER.warning("%d served answers wait to be written: %s", len(group), error)
                self._put_back(group)
                await asyncio.sleep(RETRY_S)
            self.telemetry.set("served_log_queue", len(self._waiting))

    def _put_back(self, group: Sequence[ServedRow]) -> None:
        room = max(self.size - len(self._waiting), 0)
        kept = group[len(group) - room :] if room < len(group) else group
        self.telemetry.count("served_log_dropped", len(group) - len(kept))
        self._waiting.extendleft(reversed(kept))
