"""A forecaster's bundle judged on any shop whose sales it can read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from training.contracts.errors import InputError, Problem, nearest
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop
from training.features.demand import Panel
from training.jobs.forecaster_judging import judge
from training.jobs.forecaster_panel import bundled_config, demand_panel
from training.jobs.forecaster_task import task_of
from training.models.forecaster import Forecaster


def evaluate_bundle(folder: Path, shop: Shop, *, progress: Progress = NoProgress()) -> dict[str, Any]:
    """`metrics` of the bundle on the held-out periods of `shop`, and its `baselines` there."""
    forecaster = Forecaster.load(folder)
    config = bundled_config(folder)
    progress.stage(f"reading {shop.path}")
    panel = demand_panel(shop, config, forecaster.frequency)
    _refuse_other_covariates(forecaster, panel)
    task = task_of(_as_learnt(panel, forecaster), None, config.origins, steps=forecaster.horizon)
    test = judge(forecaster, task, progress)
    return {"metrics": test.metrics, "baselines": test.baselines}


def _as_learnt(panel: Panel, forecaster: Forecaster) -> Panel:
    """With the covariates that the bundle reads, as it reads them; unknown where the shop has them no more."""
    learnt, absent_SP = forecaster.panel, np.full(panel.demand_SP.shape, np.nan)
    covariates = {name: panel.covariates.get(name, absent_SP) for name in learnt.covariates}
    nothing_S, told = (None,) * len(panel), panel.series.static
    series = replace(panel.series, static={name: told.get(name, nothing_S) for name in learnt.series.static})
    return replace(panel, series=series, covariates=covariates, schema=learnt.schema, logged=learnt.logged)


def _refuse_other_covariates(forecaster: Forecaster, panel: Panel) -> None:
    for name, covariate in forecaster.covariates.covariates.items():
        if covariate.kind == "known_future" and name not in panel.schema.covariates and name in forecaster.usable:
            raise InputError(
                Problem(table="sales", column=name, problem="the bundle learnt from this covariate, the shop has none",
                        allowed="the covariates of training", nearest=nearest(name, panel.schema.covariates))
            )  # fmt: skip
