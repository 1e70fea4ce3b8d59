"""An item over all of its locations."""

from __future__ import annotations

import numpy as np

from deployments.summed_series import summed
from training.models.forecaster import SeriesForecast

WEEK_US = 7 * 86_400_000_000


def part(name: str, mean: float, *, steps: int = 3) -> SeriesForecast:
    mean_H = np.full(steps, mean)
    return SeriesForecast(
        series_id=name, model=name, timestamps_us_H=WEEK_US * np.arange(steps), mean_H=mean_H,
        quantiles_QH=np.stack([0.8 * mean_H, mean_H, 1.2 * mean_H]),
    )  # fmt: skip


def test_means_add_up_and_spreads_add_less() -> None:
    found = summed("item", [part("a", 10), part("b", 30)])
    np.testing.assert_allclose(found.mean_H, 40)
    np.testing.assert_allclose(found.quantiles_QH[1], 40)
    spread_H = found.quantiles_QH[2] - 40
    assert (np.hypot(2, 6) < spread_H).all()
    assert (spread_H < 8).all()
    np.testing.assert_allclose(40 - found.quantiles_QH[0], spread_H)
    assert (found.series_id, found.model) == ("item", "ensemble")
    np.testing.assert_array_equal(found.timestamps_us_H, WEEK_US * np.arange(3))


def test_one_location_is_itself() -> None:
    one = part("a", 10)
    assert summed("item", [one]) is one
