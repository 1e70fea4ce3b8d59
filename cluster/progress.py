"""Progress on stderr: a bar where a person watches, a line every few seconds where a log is kept."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TextIO

from training.contracts.progress import NoProgress, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

SHOW_AFTER_S = 1.5
LINE_EVERY_S = 5.0


def watch(stream: TextIO, *, quiet: bool = False) -> Progress:
    """The progress that suits `stream`."""
    if quiet:
        return NoProgress()
    return BarProgress(stream) if stream.isatty() else LineProgress(stream)


class Stage:
    """How far one stage is: units done, units a second, seconds left."""

    def __init__(self, label: str, total: int | None) -> None:
        self.label = label
        self.total = total
        self.done = 0
        self.started_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started_s

    @property
    def rate_per_s(self) -> float:
        return self.done / max(self.elapsed_s, 1e-9)

    @property
    def left_s(self) -> float | None:
        """Seconds to go at this rate; None where that cannot be said."""
        if self.total is None or not self.done:
            return None
        return max(self.total - self.done, 0) / self.rate_per_s

    def line(self) -> str:
        """E.g. `drawing images: 1,200/8,000, 240/s, 28 s left`."""
        of = f"/{self.total:,}" if self.total is not None else ""
        parts = [f"{self.done:,}{of}", f"{self.rate_per_s:,.4g}/s"] if self.done else []
        left_s = self.left_s
        parts.append(f"{self.elapsed_s:.0f} s so far" if left_s is None else f"{left_s:.0f} s left")
        return f"{self.label}: {', '.join(parts)}"

    def summary(self) -> str:
        """What a finished stage leaves behind."""
        units = f" {self.done:,} at {self.rate_per_s:,.4g}/s" if self.done else ""
        return f"{self.label}:{units} done in {self.elapsed_s:.1f} s"


class LineProgress:
    """Writes a plain line every LINE_EVERY_S seconds while a stage lasts, and one when it ends."""

    def __init__(self, stream: TextIO, *, every_s: float = LINE_EVERY_S) -> None:
        self._stream = stream
        self._every_s = every_s
        self._current: Stage | None = None
        self._over = threading.Event()

    def stage(self, label: str, total: int | None = None) -> None:
        """Ends the stage before; an empty label begins none."""
        self._over.set()
        finished, self._current = self._current, None
        if finished and finished.elapsed_s >= SHOW_AFTER_S:
            self._write(finished.summary())
        if label:
            self._current = Stage(label, total)
            self._over = threading.Event()
            threading.Thread(target=self._report, args=(self._current, self._over), daemon=True).start()

    def advance(self, units: int = 1) -> None:
        if self._current:
            self._current.done += units

    def _report(self, stage: Stage, over: threading.Event) -> None:
        while not over.wait(self._every_s):
            self._write(stage.line())

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


class BarProgress:
    """Draws a bar with rate and time left once a stage has lasted SHOW_AFTER_S seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._current: Stage | None = None
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._timer: threading.Timer | None = None

    def stage(self, label: str, total: int | None = None) -> None:
        """Ends the stage before; an empty label begins none."""
        self._end()
        if not label:
            return
        self._current = Stage(label, total)
        self._bar = _bar(self._stream)
        self._task = self._bar.add_task(label, total=total, rate="")
        self._timer = threading.Timer(SHOW_AFTER_S, self._bar.start)
        self._timer.daemon = True
        self._timer.start()

    def advance(self, units: int = 1) -> None:
        if self._current and self._bar and self._task is not None:
            self._current.done += units
            self._bar.update(self._task, completed=self._current.done, rate=f"{self._current.rate_per_s:,.4g}/s")

    def _end(self) -> None:
        if self._timer and self._bar and self._current:
            self._timer.cancel()
            self._timer.join()
            self._bar.stop()
            if self._current.elapsed_s >= SHOW_AFTER_S:
                self._bar.console.print(self._current.summary(), highlight=False, markup=False)
        self._timer = self._bar = self._current = self._task = None


def _bar(stream: TextIO) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    label, rate = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[rate]}", markup=False)
    columns = [SpinnerColumn(), label, BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn()]
    return Bar(*columns, console=Console(file=stream), transient=True)
