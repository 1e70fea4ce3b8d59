"""What is held out: the split's rows that have demand, else the last periods that have."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.demand_shop import WEEKS, sales_rows, write_shop
from training.contracts.shop import Shop
from training.jobs.forecaster import JOB
from training.jobs.forecaster_config import ForecasterConfig
from training.jobs.forecaster_task import Task, task_of
from training.jobs.job import FitResult, LocalReport

RULES = ForecasterConfig(horizon=4, members=("last_value", "median_26"), covariate_control=False)


def contest_shop(folder: Path, *, observed: int) -> Shop:
    """The rows after WEEKS are the split's test; of its weeks the last `observed` of the known ones are too."""
    columns = sales_rows(items=2)
    week_of: dict[str, int] = {}
    columns["split"] = []
    for series_id in columns["series_id"]:
        week = week_of[series_id] = week_of.get(series_id, -1) + 1
        columns["split"].append("test" if week >= WEEKS - observed else "train")
    return write_shop(folder, columns)


def task_in(shop: Shop, config: ForecasterConfig = RULES) -> Task:
    return task_of(JOB.load(shop, config).panel, config.horizon, config.origins)


def trained(shop: Shop, folder: Path, config: ForecasterConfig = RULES) -> FitResult:
    return JOB.fit(config, JOB.load(shop, config), LocalReport(folder / "checkpoints"), folder / "bundle")


def test_test_rows_without_demand_hold_nothing_out(tmp_path: Path) -> None:
    result = trained(contest_shop(tmp_path / "shop", observed=0), tmp_path)
    assert np.isfinite(result.metrics["wape"])
    assert any("test have no demand: the last periods are held out" in note for note in result.notes)
    assert FitResult.model_validate_json(result.model_dump_json()) == result


def test_only_observed_rows_of_the_split_are_held_out(tmp_path: Path) -> None:
    task = task_in(contest_shop(tmp_path, observed=3), ForecasterConfig())
    assert task.horizon == 3
    assert (task.cut_S == task.panel.end - 4).all()
    assert np.isfinite(task.actual(task.cut_S)).all()
