"""Served answers on their way to the store: grouped, after the answer is sent, never in its way."""

from __future__ import annotations

import queue
import threading

from deployments.state.records import ServedRow
from deployments.state.store import Store, StoreUnavailable

CAPACITY = 10_000
GROUP_ROWS = 200


class ServedLog:
    """A bounded queue and the thread that empties it; what cannot be kept is counted in `dropped`."""

    def __init__(self, store: Store, *, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self._store = store
        self._queue: queue.Queue[ServedRow | None] = queue.Queue(capacity)
        self._thread = threading.Thread(target=self._run, name="served-log", daemon=True)
        self._thread.start()

    def put(self, row: ServedRow) -> None:
        """Take `row` without waiting."""
        try:
            self._queue.put_nowait(row)
        except queue.Full:
            self.dropped += 1

    def flush(self) -> None:
        """Wait until everything taken so far is written or dropped."""
        self._queue.join()

    def close(self) -> None:
        """Write what is left and stop."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_ = True
        while open_:
            group = [self._queue.get()]
            while len(group) < GROUP_ROWS and not self._queue.empty():
                group.append(self._queue.get())
            open_ = None not in group
            self._write([row for row in group if row is not None])
            for _ in group:
                self._queue.task_done()

    def _write(self, rows: list[ServedRow]) -> None:
        try:
            self._store.log_recommendations(rows)
        except StoreUnavailable:
            self.dropped += len(rows)
