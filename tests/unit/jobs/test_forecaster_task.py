"""What is held out: the split's rows that have demand, else the last periods that have."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.demand_shop import START, WEEKS, sales_rows, write_shop
from tests.published import with_manifest
from training.contracts.covariates import CovariateSchema
from training.contracts.shop import Shop
from training.features.sales_panel import read_panel
from training.jobs.forecaster import JOB, _calibrated
from training.jobs.forecaster_backtest import Backtest
from training.jobs.forecaster_config import ForecasterConfig
from training.jobs.forecaster_task import Task, task_of
from training.jobs.job import FitResult, LocalReport
from training.models.forecaster import Forecaster, Plan

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


def test_baselines_and_scales_are_counted_by_what_was_sold(tmp_path: Path) -> None:
    """Every other week a shelf of 10 sells out; the week before the test is one of those."""
    shop = write_shop(tmp_path / "shop", sales_rows(items=2))
    sales = shop.table("sales").to_pylist()
    rows = []
    for row in sales:
        low = (row["timestamp"] - START).days // 7 % 2 == (WEEKS - 5) % 2
        row["demand"] = row["demand"] and min(row["demand"], 10.0 if low else np.inf)
        rows.append({**{name: row[name] for name in ("item_id", "location", "timestamp")},
                     "on_hand": 10.0 if low else 1e6})  # fmt: skip
    pq.write_table(pa.Table.from_pylist(sales), shop.path / "sales.parquet")
    pq.write_table(pa.Table.from_pylist(rows), shop.path / "inventory.parquet")
    result = trained(Shop(shop.path), tmp_path)
    sold_SP = read_panel(Shop(shop.path)).demand_SP[:, :WEEKS]
    came_SH, scale_S = sold_SP[:, -4:], np.abs(np.diff(sold_SP[:, :-4], axis=1)).mean(1)
    for name, said_S in (("last_value", sold_SP[:, -5]), ("median_26", np.median(sold_SP[:, -30:-4], axis=1))):
        error_SH = np.abs(came_SH - said_S[:, None])
        assert result.baselines[name]["wape"] == pytest.approx(error_SH.sum() / came_SH.sum())
        assert result.baselines[name]["mase"] == pytest.approx((error_SH / scale_S[:, None]).mean())
    assert any("sold out" in note for note in result.notes)


def test_the_last_value_is_compared_on_the_rows_that_the_mixture_answered(tmp_path: Path) -> None:
    """A slow member is asked of three series, and misses nothing."""
    task = task_in(write_shop(tmp_path, sales_rows(items=2)))
    (origin_S,), horizon = task.backtest(1)
    actual_RH = task.visible.actual(origin_S, horizon)
    asked_RH = np.where(np.arange(len(actual_RH))[:, None] < 3, actual_RH, np.nan)
    rows = np.arange(len(actual_RH))
    backtest = Backtest(
        {"slow": asked_RH}, actual_RH, np.ones(len(rows)), ["level"] * len(rows), rows, {"slow": frozenset()}, horizon
    )
    _, scores = _calibrated(task, backtest, Plan(chosen={"all": {"slow": 1.0}}, informed={}))
    last_S = task.panel.demand_SP[rows, origin_S - task.panel.first]
    error = np.abs(actual_RH - last_S[:, None])[:3].sum()
    assert scores["wape"] == 0.0
    assert scores["naive_wape"] == pytest.approx(error / actual_RH[:3].sum())


def test_a_split_has_one_origin_and_whoever_asks_for_more_is_told(tmp_path: Path) -> None:
    shop = contest_shop(tmp_path / "shop", observed=3)
    result = trained(shop, tmp_path / "five", RULES.model_copy(update={"origins": 5}))
    alone = trained(shop, tmp_path / "one")
    assert (result.metrics, result.baselines) == (alone.metrics, alone.baselines)
    assert {*result.notes} - {*alone.notes} == {"the sales' split says what is held out: from one origin, not from 5"}


def test_baselines_remember_what_a_window_forgets(tmp_path: Path) -> None:
    """Of one series only the first half year is known, and 3 weeks of the last 4."""
    columns = sales_rows(weeks=220, items=1)
    for week in range(26, 217):
        columns["demand"][week] = None
    shop = write_shop(tmp_path / "shop", columns)
    result, task = trained(shop, tmp_path), task_in(shop)
    assert task.memory < 180
    demand_SP = task.panel.demand_SP[:, :220]
    said_S, came_SH = np.array([demand_SP[0, 25], *demand_SP[1:, -5]]), demand_SP[:, -4:]
    error = np.nansum(np.abs(came_SH - said_S[:, None]))
    assert result.baselines["last_value"]["wape"] == pytest.approx(error / np.nansum(came_SH))


def test_of_a_shop_that_closes_at_weekends_the_last_open_days_are_held_out(tmp_path: Path) -> None:
    days = [START + timedelta(days=day) for day in range(200)]
    days = [day for day in days if day.weekday() < 5]
    sold = [float(day.day) for day in days]
    columns: dict[str, list[Any]] = {"series_id": ["a"] * len(days), "timestamp": days, "demand": sold}
    shop = write_shop(tmp_path / "shop", columns, CovariateSchema())
    config = RULES.model_copy(update={"horizon": 10})
    task = task_in(shop, config)
    actual_SH = task.actual(task.cut_S)
    np.testing.assert_array_equal(actual_SH[np.isfinite(actual_SH)], sold[-10:])
    result = trained(shop, tmp_path, config)
    assert Forecaster.load(result.folder).horizon == task.horizon == 14
    found = JOB.evaluate(with_manifest(result, shop, config, tmp_path), shop)
    assert found["metrics"]["wape"] == pytest.approx(result.metrics["wape"])
