"""What the trials of a study came to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from training.contracts.atomic import write_json
from tuning.config import Value

TRIALS_FILE, RAY_FOLDER = "trials.json", "tune"
"""In a study's folder: what is said here, and what Ray Tune keeps while the trials run."""

Status = Literal["waiting", "running", "finished", "stopped", "failed"]
"""`stopped`: early, for others were better; `failed`: it could not be trained, and `problem` says why."""


class TrialOutcome(BaseModel):
    """One trial: what it varied, and the best validation it reached after how many epochs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trial: int
    values: dict[str, Value]
    status: Status
    score: float | None = None
    epochs: int = 0
    seconds: float = 0.0
    problem: str | None = None

    @property
    def over(self) -> bool:
        return self.status in ("finished", "stopped", "failed")


Outcomes = Sequence[TrialOutcome]
_LIST = TypeAdapter(list[TrialOutcome])


def save(outcomes: Outcomes, path: Path) -> None:
    write_json(path, [outcome.model_dump() for outcome in outcomes])


def load(path: Path) -> list[TrialOutcome]:
    """In the order in which they began; empty before there is a file."""
    if not path.is_file():
        return []
    document: list[Any] = json.loads(path.read_text(encoding="utf-8"))
    return _LIST.validate_python(document)


def best_of(outcomes: Outcomes, mode: str) -> TrialOutcome | None:
    """The first of the best; None where no trial has a score."""
    scored = [outcome for outcome in outcomes if outcome.score is not None and outcome.status != "failed"]
    sign = 1 if mode == "max" else -1
    return max(scored, key=lambda outcome: sign * (outcome.score or 0.0), default=None)


def problems(outcomes: Outcomes) -> dict[str, int]:
    """Why trials failed, and how many of each."""
    said = [outcome.problem or "no cause was given" for outcome in outcomes if outcome.status == "failed"]
    return {problem: said.count(problem) for problem in dict.fromkeys(said)}
