"""Progress on stderr: rate and time left, only for what lasts."""

from __future__ import annotations

import threading
from io import StringIO

import pytest

from cluster import progress
from cluster.progress import BarProgress, LineProgress, Stage, watch
from training.contracts.progress import NoProgress


class Listener(StringIO):
    """A stream that tells when a line with `word` was written."""

    def __init__(self, word: str, *, tty: bool = False) -> None:
        super().__init__()
        self._word, self._tty = word, tty
        self.heard = threading.Event()

    def isatty(self) -> bool:
        return self._tty

    def write(self, text: str) -> int:
        written = super().write(text)
        if self._word in text:
            self.heard.set()
        return written


def test_stage_line_says_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, *[10.0] * 10])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stage = Stage("drawing", 8000)
    stage.done = 2000
    assert stage.line() == "drawing: 2,000/8,000, 200/s, 30 s left"


def test_stage_without_total_says_how_long() -> None:
    assert Stage("reading", None).line() == "reading: 0 s so far"


def test_lines_are_written_while_a_stage_lasts() -> None:
    stream = Listener("working: 3/9")
    lines = LineProgress(stream, every_s=0.01)
    lines.stage("working", 9)
    lines.advance(3)
    assert stream.heard.wait(10)
    lines.stage("")
    assert "left" in stream.getvalue()


def test_short_stages_stay_silent() -> None:
    for stream in (Listener("x"), Listener("x", tty=True)):
        shown = watch(stream)
        shown.stage("x", 3)
        shown.advance()
        shown.stage("y")
        shown.stage("")
        assert stream.getvalue() == ""


def test_a_bar_is_drawn_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SHOW_AFTER_S", 0.01)
    stream = Listener("training", tty=True)
    bar = watch(stream)
    assert isinstance(bar, BarProgress)
    bar.stage("training", 10)
    bar.advance(5)
    assert stream.heard.wait(10)
    bar.stage("")
    assert "done in" in stream.getvalue()


def test_quiet_is_silent() -> None:
    assert isinstance(watch(StringIO(), quiet=True), NoProgress)
