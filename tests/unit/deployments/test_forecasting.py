"""Forecasting from a bundle and the sales since, rows of old weeks and of some locations only among them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deployments.forecasting import Forecasting
from deployments.messages import AskedSeries, ForecastQuery, Forecasts
from deployments.state.clock import to_us
from tests.baseline_forecaster import baseline_forecaster
from tests.demand_shop import START, WEEKS, small_panel
from training.models.demand.simple import LastValue
from training.models.forecaster import SeriesForecast

HORIZON = 4
Rows = dict[str, list[dict[str, Any]]]


class Sales:
    """The part of a store that forecasting reads."""

    def __init__(self) -> None:
        self.rows: Rows = {}

    def sales_of(self, series_ids: Sequence[str], *, since_us: int) -> Rows:
        return {
            one: [row for row in sorted(self.rows[one], key=lambda row: row["timestamp"])
                  if to_us(row["timestamp"]) >= since_us]
            for one in series_ids if one in self.rows
        }  # fmt: skip

    def sell(self, series_id: str, week: int, demand: float) -> None:
        row = {"series_id": series_id, "timestamp": START + timedelta(weeks=week), "demand": demand}
        self.rows.setdefault(series_id, []).append(row)


@pytest.fixture
def sales() -> Sales:
    return Sales()


@pytest.fixture
def forecasting(tmp_path: Path, sales: Sales) -> Forecasting:
    forecaster = baseline_forecaster(small_panel(tmp_path, items=2), HORIZON, LastValue())
    return Forecasting(forecaster, SimpleNamespace(store=sales, age_ms=lambda: 0.0))  # type: ignore[arg-type]


def asked(forecasting: Forecasting, *series: AskedSeries, horizon: int = HORIZON) -> list[SeriesForecast]:
    (found,) = forecasting.answer([ForecastQuery("v", series, horizon)])
    assert isinstance(found, Forecasts)
    return found.series


def first_week(forecasting: Forecasting, found: SeriesForecast) -> int:
    return (
        int(forecasting.forecaster.frequency.period(found.timestamps_us_H[:1])[0]) - forecasting.forecaster.panel.first
    )


def test_a_correction_of_an_old_week_leaves_the_forecast_where_it_was(forecasting: Forecasting, sales: Sales) -> None:
    (before,) = asked(forecasting, AskedSeries("i0@p0"))
    sales.sell("i0@p0", WEEKS - 3, 900.0)
    (after,) = asked(forecasting, AskedSeries("i0@p0"))
    assert first_week(forecasting, after) == WEEKS
    np.testing.assert_array_equal(after.mean_H, before.mean_H)
    sales.sell("i0@p0", WEEKS - 1, 700.0)
    (corrected,) = asked(forecasting, AskedSeries("i0@p0"))
    np.testing.assert_array_equal(corrected.mean_H, 700.0)


@pytest.mark.parametrize("horizon", [HORIZON, 1])
def test_an_item_is_forecast_to_the_horizon_though_a_location_has_sold_later(
    forecasting: Forecasting, sales: Sales, horizon: int
) -> None:
    sales.sell("i0@p0", WEEKS, 900.0)
    sales.sell("i0@p0", WEEKS + 1, 900.0)
    item, place, other = asked(
        forecasting, AskedSeries(None, "i0"), AskedSeries("i0@p0"), AskedSeries("i0@p1"), horizon=horizon
    )
    assert [len(one.mean_H) for one in (item, place, other)] == [horizon] * 3
    assert [first_week(forecasting, one) for one in (item, place, other)] == [WEEKS + 2, WEEKS + 2, WEEKS]
    (third,) = asked(forecasting, AskedSeries("i0@p2"), horizon=horizon)
    np.testing.assert_allclose(item.mean_H, 900.0 + other.mean_H[0] + third.mean_H[0])
