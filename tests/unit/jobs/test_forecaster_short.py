"""Shops that opened a few periods ago: every member is fitted to them or steps aside."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.demand_shop import START, write_shop
from training.contracts.covariates import CovariateSchema
from training.jobs.forecaster import JOB
from training.jobs.forecaster_config import ForecasterConfig
from training.jobs.job import LocalReport
from training.models.forecaster import Forecaster


def young_rows(periods: int, series: int, step: timedelta) -> dict[str, list[Any]]:
    rng, places = np.random.default_rng(periods), [(row, place) for row in range(series) for place in range(periods)]
    return {
        "series_id": [f"s{row}" for row, _ in places], "timestamp": [START + place * step for _, place in places],
        "demand": rng.poisson(20, len(places)).astype(float).tolist(),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("periods", "series", "step"),
    [*((periods, 3, timedelta(weeks=1)) for periods in (3, 4, 5, 8, 10, 12)), (3, 1, timedelta(weeks=1)),
     (5, 3, timedelta(days=1)), (12, 3, timedelta(hours=1))],
)  # fmt: skip
def test_a_young_shop_is_trained_with_every_member(tmp_path: Path, periods: int, series: int, step: timedelta) -> None:
    shop = write_shop(tmp_path / "shop", young_rows(periods, series, step), CovariateSchema())
    config = ForecasterConfig(rounds=5, epochs=1)
    result = JOB.fit(config, JOB.load(shop, config), LocalReport(tmp_path / "checkpoints"), tmp_path / "bundle")
    assert np.isfinite(result.metrics["wape"])
    forecaster = Forecaster.load(result.folder)
    (said,) = forecaster.forecast([forecaster.query("s0")], 1)
    assert 0 < said.mean_H[0] < 60
