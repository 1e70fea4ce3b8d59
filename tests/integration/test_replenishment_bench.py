"""The benchmark of replenishment runs end to end on a small shop, and finds what knowing prices ahead is worth."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.forecast_bundle import MEMBERS, sales_rows, write_sales
from training.jobs.forecaster_config import ForecasterConfig
from training.models.replenishment import Position, demand_over, quantiles, replenish

BENCH = Path(__file__).parents[1] / "bench"
CONFIG = ForecasterConfig(horizon=3, origins=10, members=MEMBERS, covariate_control=False, backtest_origins=2)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    import replenishment

    found: ModuleType = replenishment
    return found


@pytest.fixture
def trade(bench: ModuleType, tmp_path: Path) -> Any:
    return bench.of_shop(write_sales(tmp_path / "shop", sales_rows()), CONFIG, lead_weeks=1)


def test_known_prices_save_stock_at_the_same_fill_rate(bench: ModuleType, trade: Any, tmp_path: Path) -> None:
    figures = bench.compare(trade, CONFIG, tmp_path / "fit")
    for at in figures["at_fill_rate"].values():
        assert at["cost_ratio"] < 0.95
        assert at["stock_ratio"] < 1
        assert at["times_clairvoyant"] > 1
    assert figures["clairvoyant"]["fill_rate"] == pytest.approx(1)
    assert figures["clairvoyant"]["stock"] >= 0.5 - 1e-9


def test_no_policy_sees_what_sells_after_it_orders(bench: ModuleType, trade: Any, tmp_path: Path) -> None:
    """Sold-out weeks are raised by earlier weeks alone, whatever sells later."""
    cut = trade.panel.end - 13
    later = trade.panel.first + np.arange(trade.panel.demand_SP.shape[1]) > cut
    censored_SP = np.zeros(trade.panel.demand_SP.shape, bool)
    censored_SP[:, -8:] = censored_SP[:, 10:14] = censored_SP[:, np.flatnonzero(later)[0] - 2] = True
    one = bench.replace(trade, censored_SP=censored_SP)
    demand_SP = np.where(later, 9 * trade.panel.demand_SP, trade.panel.demand_SP)
    other = bench.replace(one, panel=bench.replace(trade.panel, demand_SP=demand_SP))
    quick = CONFIG.model_copy(update={"members": ("median_26",)})
    forecasters = [bench.train(of, cut, quick, tmp_path / name) for of, name in ((one, "a"), (other, "b"))]
    orders = [bench.seasons(of, cut, 1, forecasters[0])[1] for of in (one, other)]
    for policy, (mean_SP, deviation_SP) in orders[0].items():
        np.testing.assert_allclose(orders[1][policy][0], mean_SP, err_msg=policy)
        np.testing.assert_allclose(orders[1][policy][1], deviation_SP, err_msg=policy)
    own, its = (bench.by_forecast(forecaster, one, cut, 1) for forecaster in forecasters)
    np.testing.assert_allclose(own, its)


def test_the_levels_are_those_that_the_shop_would_order_up_to() -> None:
    position = Position(on_hand=0, lead_time_days=7, review_period_days=7, service_level=0.95)
    order = replenish(position, np.array([20.0, 30.0]), np.array([5.0, 9.0]), 7.0)
    demand = demand_over(14, np.array([20.0, 30.0]), np.array([5.0, 9.0]), 7.0)
    levels = quantiles(np.array([demand.mean, 0.0]), np.array([demand.deviation, 0.0]), 0.95)
    assert levels == pytest.approx([order.order_up_to, 0.0])


def test_costs_are_read_between_settings_and_not_beyond_them(bench: ModuleType) -> None:
    traced = [{"fill_rate": 0.9, "cost": 2.0}, {"fill_rate": 1.0, "cost": 4.0}]
    assert bench.at_fill_rate(traced, 0.95, "cost") == pytest.approx(3)
    assert bench.at_fill_rate(traced[:1], 0.95, "cost") is None
