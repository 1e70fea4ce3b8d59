"""A series' history by period: corrections, newer rows, several series side by side."""

from __future__ import annotations

import numpy as np

from training.features.periods import FIXED_US, Frequency
from training.models.demand.history import SeriesHistory, together

WEEKLY = Frequency("week", 0)


def weeks(first: int, *demand: float, price: float | None = None) -> SeriesHistory:
    return SeriesHistory(
        timestamps_us_T=FIXED_US["week"] * np.arange(first, first + len(demand)), demand_T=np.array(demand),
        covariates={} if price is None else {"price": np.full(len(demand), price)},
    )  # fmt: skip


def test_a_correction_replaces_its_week_and_moves_nothing() -> None:
    found = weeks(0, 1, 2, 3, 4, price=9.0).continued(weeks(1, 20), WEEKLY)
    np.testing.assert_array_equal(found.demand_T, [1, 20, 3, 4])
    np.testing.assert_array_equal(found.covariates["price"], 9.0)
    assert found.last_period(WEEKLY) == 3


def test_newer_weeks_follow_whatever_their_order() -> None:
    since = SeriesHistory(timestamps_us_T=FIXED_US["week"] * np.array([5, 2]), demand_T=np.array([50.0, 20.0]))
    found = weeks(0, 1, 2).continued(since, WEEKLY)
    np.testing.assert_array_equal(found.demand_T, [1, 2, 20, 50])
    np.testing.assert_array_equal(WEEKLY.period(found.timestamps_us_T), [0, 1, 2, 5])


def test_series_that_end_at_different_weeks_are_added_week_by_week() -> None:
    np.testing.assert_array_equal(together([weeks(0, 1, 2, 3, 4), weeks(1, 10, 20)], WEEKLY), [1, 12, 23, 4])
    assert not len(together([SeriesHistory.empty()], WEEKLY))
