"""Whether a slow member earns that it is fitted to every series."""

from __future__ import annotations

import numpy as np
import pytest

from training.jobs.forecaster_backtest import Backtest, earning

SERIES, STEPS, SAMPLED = 200, 4, 60


def backtest(slow_error: float) -> Backtest:
    """Actual demand is 100; the quick member misses by 10, the slow one, asked of SAMPLED series, by `slow_error`."""
    actual_RH = np.full((SERIES, STEPS), 100.0)
    sign_RH = np.where(np.random.default_rng(0).random(actual_RH.shape) < 0.5, -1.0, 1.0)
    slow_RH = np.full_like(actual_RH, np.nan)
    slow_RH[:SAMPLED] = (actual_RH + slow_error * sign_RH)[:SAMPLED]
    forecasts = {"rule": actual_RH + 20 * sign_RH, "quick": actual_RH + 10 * sign_RH, "slow": slow_RH}
    return Backtest(
        forecasts, actual_RH, np.full(SERIES, 10.0), ["level"] * SERIES, np.arange(SERIES),
        dict.fromkeys(forecasts, frozenset[str]()), STEPS,
    )  # fmt: skip


@pytest.mark.parametrize(("slow_error", "kept"), [(9.0, True), (9.95, False), (12.0, False)])
def test_a_slow_member_must_gain_a_hundredth(slow_error: float, kept: bool) -> None:
    names = earning(backtest(slow_error), ["rule", "quick", "slow"], ("slow",))
    assert names == (["rule", "quick", "slow"] if kept else ["rule", "quick"])


def test_members_that_are_all_slow_are_kept() -> None:
    assert earning(backtest(50.0), ["slow"], ("slow",)) == ["slow"]
