"""Progress of a fit that runs in another process: written to a file there, read and shown here."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.contracts.progress import Progress

WRITE_EVERY_S, READ_EVERY_S = 0.5, 0.5


class ProgressFile:
    """`Progress` that appends to a file; steps between two writes are added up."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (open as long as the worker lives)
        self._units, self._written_s = 0, 0.0

    def stage(self, label: str, total: int | None = None) -> None:
        self._flush()
        self._write({"stage": label, "total": total})

    def advance(self, units: int = 1) -> None:
        self._units += units
        if time.monotonic() - self._written_s >= WRITE_EVERY_S:
            self._flush()

    def _flush(self) -> None:
        if self._units:
            self._write({"advance": self._units})
            self._units, self._written_s = 0, time.monotonic()

    def _write(self, line: dict[str, str | int | None]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


@contextmanager
def shown(path: Path, progress: Progress) -> Iterator[None]:
    """Show what a ProgressFile at `path` says from now on, while the block runs."""
    path.touch()
    over = threading.Event()
    with open(path, encoding="utf-8") as lines:
        lines.seek(0, 2)
        reader = threading.Thread(target=_relay, args=(lines, progress, over), daemon=True)
        reader.start()
        try:
            yield
        finally:
            over.set()
            reader.join()
            progress.stage("")


def _relay(lines: Iterator[str], progress: Progress, over: threading.Event) -> None:
    ending = False
    while not ending:
        ending = over.wait(READ_EVERY_S)
        for line in lines:
            said = json.loads(line)
            if "stage" in said:
                progress.stage(said["stage"], said["total"])
            else:
                progress.advance(said["advance"])
