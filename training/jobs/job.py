"""What every trainable is: a config, a way to read a shop, a plain `fit`, an evaluation."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from training.contracts.atomic import new_folder
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop

KEPT_CHECKPOINTS = 2


class Report(Protocol):
    """Where a fit says how far it is, and leaves what it would go on from.

    `resume_from` holds the files of the latest checkpoint, None for a fresh start. Every rank reports every epoch;
    rank 0 brings a checkpoint, and other ranks files of theirs that belong into it. The checkpoint's folder is the
    caller's to reuse once the call returns, with the place where the checkpoint is kept if that is known.
    """

    rank: int
    world_size: int
    resume_from: Path | None

    def __call__(self, metrics: Mapping[str, float], checkpoint: Path | None = None) -> Path | None: ...


class LocalReport:
    """`Report` of a fit in this process: keeps the newest checkpoints as `folder/epoch-NNN`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rank, self.world_size = 0, 1
        self.history: list[dict[str, float]] = []
        kept = self._checkpoints()
        self.resume_from: Path | None = kept[-1] if kept else None

    def __call__(self, metrics: Mapping[str, float], checkpoint: Path | None = None) -> Path | None:
        self.history.append(dict(metrics))
        if checkpoint is None:
            return None
        kept = self.folder / f"epoch-{int(metrics['epoch']):03d}"
        with new_folder(kept, force=True) as partial:
            shutil.copytree(checkpoint, partial, dirs_exist_ok=True)
        for old in self._checkpoints()[:-KEPT_CHECKPOINTS]:
            shutil.rmtree(old)
        return kept

    def _checkpoints(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*"), key=lambda path: int(path.name.removeprefix("epoch-")))


class Exhibit(BaseModel):
    """A picture for the report."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    jpeg_base64: str


class FitResult(BaseModel):
    """What a fit leaves: a bundle's files without their manifest, and all that is said about them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path
    model: str
    metrics: dict[str, float]
    validation: dict[str, float]
    baselines: dict[str, dict[str, float]]
    train_seconds: float
    cpu_seconds: float
    examples_per_second: float
    notes: tuple[str, ...] = ()
    curve: tuple[dict[str, float], ...] = ()
    upstream: dict[str, str] = {}
    """Job -> version of the bundles that this one was trained on top of."""
    bins: dict[str, dict[str, dict[str, float]]] = {}
    """Per model and item-frequency bin (forecaster: kind of series): metrics."""
    problems: tuple[str, ...] = ()
    """Rows of the shop that had to be left out, a line for each."""
    exhibits: tuple[Exhibit, ...] = ()
    pictures: dict[str, str] = {}
    """Title -> SVG, for the report."""


class Fit(Protocol):
    """`fit(config, data, report, out)`: trains, and leaves the bundle's files in the new folder `out`."""

    def __call__(
        self, config: Any, data: Any, report: Report, out: Path, *, progress: Progress = NoProgress()
    ) -> FitResult: ...


class Evaluate(Protocol):
    """`evaluate(folder, shop)`: `metrics` of the bundle in `folder` on the held-out part of `shop`, and `baselines`."""

    def __call__(self, folder: Path, shop: Shop, *, progress: Progress = NoProgress()) -> dict[str, Any]: ...


def nothing_named(_: Any) -> None:
    """The check of a config that names no files."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One trainable; `selection_metric` decides between a bundle and its baselines."""

    name: str
    config: type[BaseModel]
    load: Callable[[Shop, Any], Any]
    fit: Fit
    evaluate: Evaluate
    selection_metric: str
    check: Callable[[Any], None] = nothing_named
    """Raises InputError for what a config names and is not there; cheap, and asked before anything starts."""
    needs: tuple[str, ...] = ()
    """Jobs whose bundles' folders the config's `upstream` names."""
    takes: tuple[str, ...] = ()
    """Likewise, of jobs that the shop may have no bundle of."""
