"""A shop that passed `data check`: what training and serving accept."""

from __future__ import annotations

from pathlib import Path

from training.contracts.check import check_shop
from training.contracts.errors import InputError
from training.contracts.progress import Progress
from training.contracts.shop import Shop


def open_checked(path: Path, *, progress: Progress) -> Shop:
    """Raises InputError with every error of `data check`; its warnings are no obstacle."""
    report = check_shop(path, progress=progress)
    progress.stage("")
    if not report.ok:
        raise InputError([problem for problem in report.problems if problem.severity == "error"])
    return Shop(path)
