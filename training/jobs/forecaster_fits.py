"""The members of a training, each fitted once and kept: an interrupted training goes on from those that it had."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from training.contracts.atomic import write_json
from training.jobs.job import Report
from training.jobs.workers import Workers
from training.models.demand.member import Fitting, Member
from training.models.demand.registry import load_member, member_class

BACKTEST, FINAL = "backtest", "final"
STEPS_FILE = "steps.json"
KEPT_EVERY_S = 10.0
"""A report costs up to seconds, most fits less: they are kept once so much would be lost."""


@dataclass(frozen=True)
class KeptSteps:
    """The steps that are kept, STAGE/NAME each, and what they cost."""

    steps: list[str]
    seconds: float
    cpu_seconds: float


def fit_member(name: str, fitting: Fitting) -> Member:
    """A rule has nothing to fit."""
    found = member_class(name)
    return found.fit(fitting) if hasattr(found, "fit") else found()


class MemberFits:
    """Fits members in one order on all ranks, each a step; now and then all members so far are kept.

    Rank 0 fits them; of a member that is fitted by all ranks together the others fit their part.
    """

    def __init__(self, report: Report, workers: Workers) -> None:
        self.report, self.workers = report, workers
        self._scratch = tempfile.TemporaryDirectory()
        self._kept = Path(self._scratch.name) / "members"
        if report.resume_from is not None and workers.rank == 0:
            shutil.copytree(report.resume_from, self._kept)
        (held,) = workers.from_first([float(len(self._kept_steps().steps))])
        self.resumed, self._asked, self._kept_s = int(held), 0, time.monotonic()
        self._begun_s, self._begun_cpu_s, self._earlier = time.monotonic(), time.process_time(), self._kept_steps()

    def __call__(self, stage: str, name: str, fitting: Fitting) -> Member:
        """Rank 0's step: the member, from the checkpoint where it holds it."""
        self._asked += 1
        step, folder = f"{stage}/{name}", self._kept / stage / name
        if self._resumes(step):
            return load_member(name, folder)
        member = fit_member(name, fitting)
        member.save(folder)
        self._write([*self._kept_steps().steps, step])
        self._report()
        return member

    def assist(self, name: str, fitting: Fitting) -> None:
        """The other ranks' part of the same step."""
        self._asked += 1
        if self._resumes():
            return
        if getattr(member_class(name), "together", False):
            fit_member(name, fitting)
        self._report()

    def agreed(self, names: Sequence[str], used: Sequence[str] = ()) -> list[str]:
        """Those of `names` that rank 0 uses."""
        told = self.workers.from_first([float(name in used) for name in names])
        return [name for name, said in zip(names, told, strict=True) if said]

    def said(self) -> list[str]:
        """Where the training was interrupted, for the notes of a result."""
        return [f"the training was interrupted and went on after {self.resumed} fits"] if self.resumed else []

    def _resumes(self, step: str = "") -> bool:
        """Whether the checkpoint holds this very step, as rank 0 finds; else it and those behind it are fitted anew."""
        if self._asked > self.resumed:
            return False
        (same,) = self.workers.from_first([float(step in self._kept_steps().steps[self._asked - 1 : self._asked])])
        if not same:
            self.resumed = self._asked - 1
            self._drop_from(self.resumed)
        return bool(same)

    def _drop_from(self, place: int) -> None:
        steps = self._kept_steps().steps
        for step in steps[place:]:
            shutil.rmtree(self._kept / step, ignore_errors=True)
        if steps:
            self._write(steps[:place])

    def _report(self) -> None:
        seconds = time.monotonic() - self._kept_s
        (due,) = self.workers.from_first([float(seconds >= KEPT_EVERY_S)])
        if due:
            checkpoint = self._kept if self.workers.rank == 0 else None
            self.report({"epoch": float(self._asked), "seconds": seconds}, checkpoint)
            self._kept_s = time.monotonic()

    def spent(self) -> tuple[float, float]:
        """Seconds and CPU-seconds of this process until now, and of the earlier ones until what they kept."""
        seconds, cpu_seconds = time.monotonic() - self._begun_s, time.process_time() - self._begun_cpu_s
        return self._earlier.seconds + seconds, self._earlier.cpu_seconds + cpu_seconds

    def _kept_steps(self) -> KeptSteps:
        path = self._kept / STEPS_FILE
        return KeptSteps(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else KeptSteps([], 0.0, 0.0)

    def _write(self, steps: list[str]) -> None:
        write_json(self._kept / STEPS_FILE, asdict(KeptSteps(steps, *self.spent())))
