"""How far a study is, for who watches: trials over, the best so far, about how long it will still take."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.contracts.progress import Progress
from tuning.config import StudyConfig
from tuning.results import Outcomes, best_of, load

READ_EVERY_S = 0.5


@contextmanager
def shown(trials_file: Path, study: StudyConfig, metric: str, progress: Progress) -> Iterator[None]:
    """Show what the study keeps in `trials_file` while the block runs."""
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(trials_file, study, metric, progress, over), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        progress.stage("")


def _watch(trials_file: Path, study: StudyConfig, metric: str, progress: Progress, over: threading.Event) -> None:
    begun_s, at_first, said = time.monotonic(), _trials_over(load(trials_file)), ""
    while not over.wait(READ_EVERY_S):
        outcomes = load(trials_file)
        state = describe(outcomes, study, metric)
        if state != said:
            said, done = state, _trials_over(outcomes)
            left = remaining(done - at_first, study.trials - done, time.monotonic() - begun_s)
            progress.stage(state + left)


def describe(outcomes: Outcomes, study: StudyConfig, metric: str) -> str:
    """E.g. `trials 3/16, best ndcg@10 0.0531`."""
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    best = best_of(outcomes, study.mode)
    parts = [f"trials {_trials_over(outcomes)}/{study.trials}"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"best {metric} {best.score:.4f}"] if best is not None else []
    return ", ".join(parts)


def remaining(done: int, left: int, elapsed_s: float) -> str:
    """E.g. `, about 120 s left`; empty before the first trial is over."""
    return f", about {elapsed_s / done * left:.0f} s left" if done else ""


def _trials_over(outcomes: Outcomes) -> int:
    return sum(outcome.over for outcome in outcomes)
