"""One trial of a study: the job's own `fit`, heard epoch by epoch and ended once nothing more is to be learnt."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from training.contracts.atomic import write_json
from training.contracts.errors import ShopkeeperError
from training.contracts.shop import Shop
from training.jobs.job import Job
from tuning.config import StudyConfig
from tuning.space import assigned

SCORE, EPOCH, FINISHED = "score", "epoch", "finished"
STATE_FILE = "trial.json"
NO_LIMIT_S = 1e9
LOW_PRIORITY = 10
"""Niceness of what a study trains: behind whatever serves on the machine."""

Tell = Callable[[dict[str, Any], Path | None], None]
"""Takes a line of metrics and the folder of a checkpoint."""


class TrialOverError(Exception):
    """Ends a fit from within its report: what follows the epochs is not the trial's business."""


class TrialReport:
    """`Report` of a trial: tells the best validation so far, and raises TrialOverError after the last epoch.

    A line of the fit must carry `metric`, which is of validation. The trial ends after `max_epochs`, or after
    `patience` epochs without a better one; a checkpoint carries the best so far, so that a resumed trial knows it.
    """

    def __init__(self, study: StudyConfig, metric: str, tell: Tell, resume_from: Path | None = None) -> None:
        self.rank, self.world_size, self.resume_from = 0, 1, resume_from
        self.study, self.metric, self.tell = study, metric, tell
        self.best: float | None = None
        self.best_epoch = self.epoch = 0
        if resume_from is not None:
            state = json.loads((resume_from / STATE_FILE).read_text(encoding="utf-8"))
            self.best, self.best_epoch, self.epoch = state["best"], state["best_epoch"], state["epoch"]

    def __call__(self, metrics: Mapping[str, float], checkpoint: Path | None = None) -> None:
        """Raises ShopkeeperError where the line has no such metric, or one that is not a number."""
        self.epoch = int(metrics[EPOCH])
        self._judge(metrics)
        if checkpoint is not None:
            state = {"best": self.best, "best_epoch": self.best_epoch, "epoch": self.epoch}
            write_json(checkpoint / STATE_FILE, state)
        self._tell(self.over, checkpoint)
        if self.over:
            raise TrialOverError

    @property
    def over(self) -> bool:
        """Whether the trial has had its epochs."""
        return self.epoch >= self.study.max_epochs or self.epoch - self.best_epoch >= self.study.patience

    def conclude(self, validation: Mapping[str, float]) -> None:
        """The fit came to its own end: where it had no epochs, its final validation is what is judged."""
        if self.best is None:
            self._judge(validation)
        self._tell(True, None)

    def _judge(self, metrics: Mapping[str, float]) -> None:
        if self.metric not in metrics:
            raise ShopkeeperError(f"the job reports no {self.metric!r} of validation; it reports {', '.join(metrics)}")
        value = float(metrics[self.metric])
        if not math.isfinite(value):
            raise ShopkeeperError(f"{self.metric} is {value} at epoch {self.epoch}")
        better = max if self.study.mode == "max" else min
        if self.best is None or better(value, self.best) != self.best:
            self.best, self.best_epoch = value, self.epoch

    def _tell(self, over: bool, checkpoint: Path | None) -> None:
        line = {SCORE: self.best, EPOCH: self.epoch, "best_epoch": self.best_epoch, FINISHED: over}
        self.tell(line, checkpoint)


def run_trial(job: Job, config: BaseModel, shop: Shop, report: TrialReport, out: Path) -> None:
    """The job's fit until its report ends it; `out` is only filled by a fit that comes to its own end."""
    if report.over:  # it was interrupted between its last epoch and its end
        report.conclude({})
        return
    try:
        result = job.fit(config, job.load(shop, config), report, out)
    except TrialOverError:
        return
    report.conclude(result.validation)


def trial_config(study: StudyConfig, model: type[BaseModel], values: Mapping[str, Any]) -> BaseModel:
    """The job's config of one trial, which the study's own limits end and no clock.

    Raises pydantic's ValidationError for values that do not go together.
    """
    limits = {"epochs": study.max_epochs, "patience": study.max_epochs, "max_train_s": NO_LIMIT_S}
    own = {name: value for name, value in limits.items() if name in model.model_fields}
    return model.model_validate(assigned(final_document(study, values), own))


def final_document(study: StudyConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """What `train --config` takes to train the trial's config whole."""
    return assigned({"seed": study.seed, **study.base}, values)
