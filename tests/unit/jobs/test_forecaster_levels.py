"""Sums above the series: forecast from what came before anything held out, weighed by errors that were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.demand_shop import WEEKS, sales_rows, write_shop
from training.jobs.forecaster import JOB
from training.jobs.forecaster_config import ForecasterConfig
from training.jobs.forecaster_levels import _variance
from training.jobs.job import FitResult, LocalReport

LEVEL = "wape_total_reconciled"


def split_rows(begins: dict[str, int], *, boost: float = 1.0) -> dict[str, list[Any]]:
    """Rows of the test from these weeks on, 4 of them, of all but the last series; `boost` times the usual there."""
    columns = sales_rows(items=2)
    week_of: dict[str, int] = {}
    columns["split"] = [None] * len(columns["series_id"])
    for row, series_id in enumerate(columns["series_id"]):
        week = week_of[series_id] = week_of.get(series_id, -1) + 1
        begin = begins.get(series_id, WEEKS - 4)
        if series_id != "i1@p2" and begin <= week < begin + 4:
            columns["split"][row], columns["demand"][row] = "test", columns["demand"][row] * boost
        elif week >= begin + 4 and series_id != "i1@p2":
            columns["demand"][row] = None
    return columns


def trained(folder: Path, columns: dict[str, list[Any]]) -> FitResult:
    config = ForecasterConfig(members=("last_value", "median_26"), covariate_control=False)
    shop = write_shop(folder / "shop", columns)
    return JOB.fit(config, JOB.load(shop, config), LocalReport(folder / "checkpoints"), folder / "bundle")


def said(result: FitResult, boost: float) -> float:
    """The reconciled total in units of usual demand: its WAPE tells, for it is too low everywhere."""
    return (1 - result.metrics[LEVEL]) * boost


def test_what_is_held_out_of_some_series_is_in_no_sum_that_they_are_forecast_with(tmp_path: Path) -> None:
    """One series has no test rows and goes on; the others' test is four times the usual, then four thousand times."""
    few, many = (trained(tmp_path / str(boost), split_rows({}, boost=boost)) for boost in (4.0, 4000.0))
    assert said(few, 4.0) == pytest.approx(said(many, 4000.0), rel=1e-6)


def test_sums_of_series_that_are_held_out_from_different_weeks_on_are_left_out(tmp_path: Path) -> None:
    result = trained(tmp_path, split_rows({"i0@p0": WEEKS - 9}))
    assert LEVEL not in result.metrics
    assert any("held out from different periods" in note for note in result.notes)


def test_series_that_made_no_error_yet_are_trusted_as_the_others_are() -> None:
    errors_SOH = np.array([[[2.0, 2.0]], [[4.0, np.nan]], [[np.nan, np.nan]]])
    np.testing.assert_array_equal(_variance(errors_SOH), [4.0, 16.0, 10.0])
