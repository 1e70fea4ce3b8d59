"""Textbook values of the policies, and what must hold of any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from training.models.inventory_simulation import Costs, clairvoyant, play
from training.models.replenishment import (
    Demand,
    Position,
    critical_ratio,
    demand_over,
    deviations_of,
    economic_order_quantity,
    newsvendor,
    replenish,
)

WEEK = 7.0


def test_eoq_of_harris() -> None:
    """1,000 units a year, an order costs 10, a unit 0.5 a year: 200 units."""
    assert economic_order_quantity(1000 / 365, 10, 0.5 / 365) == pytest.approx(200)


def test_critical_ratio_of_the_newsvendor() -> None:
    """A paper bought for 0.30, sold for 1.00, worth nothing tomorrow: 70 %."""
    assert critical_ratio(0.30, 0.70) == pytest.approx(0.7)


def test_newsvendor_of_steady_demand_is_close_to_the_normal_one() -> None:
    """Mean 1,000, deviation 100, 84 %: mean and one deviation."""
    assert newsvendor(Demand(1000, 100), stats.norm.cdf(1)) == pytest.approx(1100, rel=0.01)
    assert newsvendor(Demand(50, 0), 0.99) == 50


def test_expected_shortage_is_that_of_drawn_demand() -> None:
    demand, rng = Demand(20, 12), np.random.default_rng(0)
    shape, scale = (20 / 12) ** 2, 144 / 20
    drawn = rng.gamma(shape, scale, 400_000)
    for stock in (0.0, 10.0, 25.0, 60.0):
        assert demand.expected_shortage(stock) == pytest.approx(np.maximum(drawn - stock, 0).mean(), rel=0.03)
    assert demand.expected_shortage(-5) == pytest.approx(20)


def test_demand_of_a_part_of_a_period_and_beyond_the_forecast() -> None:
    means_H, deviations_H = np.array([70.0, 140.0]), np.array([7.0, 7.0])
    assert demand_over(3.5, means_H, deviations_H, WEEK).mean == pytest.approx(35)
    assert demand_over(14, means_H, deviations_H, WEEK).mean == pytest.approx(210)
    assert demand_over(28, means_H, deviations_H, WEEK).mean == pytest.approx(70 + 3 * 140)
    assert demand_over(0, means_H, deviations_H, WEEK).mean == 0
    one, two = (demand_over(days, means_H, deviations_H, WEEK).deviation for days in (7, 14))
    assert 2**0.5 * one < two < 2 * one


def test_deviations_are_those_of_a_normal_distribution() -> None:
    low, high = stats.norm.ppf([0.1, 0.9], loc=50, scale=8)
    assert deviations_of(np.array([low]), np.array([high]))[0] == pytest.approx(8, rel=1e-3)


def position(**changes: float) -> Position:
    given = {"on_hand": 10.0, "lead_time_days": 7.0, "review_period_days": 7.0, "service_level": 0.95, **changes}
    return Position(**given)


FORECAST = (np.full(8, 20.0), np.full(8, 5.0), WEEK)


def test_base_stock_orders_up_to_the_demand_of_lead_time_and_review() -> None:
    order = replenish(position(on_order=5), *FORECAST)
    assert order.policy == "base_stock"
    assert order.order_up_to == pytest.approx(order.order_quantity + 15)
    assert order.order_up_to == pytest.approx(40 + 1.645 * order_deviation(), rel=0.03)
    assert 0 < order.expected_stockout < 1


def order_deviation() -> float:
    return demand_over(14, *FORECAST).deviation


def test_delivery_at_once_is_a_newsvendor() -> None:
    costs = {"service_level": None, "holding_cost": 0.1, "stockout_cost": 6.3}
    order = replenish(position(lead_time_days=0, **costs), *FORECAST)
    assert order.policy == "newsvendor"
    assert order.service_level == pytest.approx(6.3 / (6.3 + 0.7))
    assert order.order_up_to == pytest.approx(newsvendor(Demand(20, 5), 0.9))


def test_an_order_that_costs_is_large_and_rare() -> None:
    costs = {"holding_cost": 0.02, "order_cost": 30.0}
    wait, buy = (replenish(position(on_hand=stock, **costs), *FORECAST) for stock in (200, 10))
    assert (wait.policy, wait.order_quantity) == ("s_S", 0)
    lot = economic_order_quantity(20 / 7, 30, 0.02)
    assert buy.order_up_to == pytest.approx(buy.reorder_point + lot)
    assert buy.order_quantity == pytest.approx(buy.order_up_to - 10)


@settings(max_examples=60, deadline=None)
@given(
    stock=st.floats(0, 500), lead=st.floats(0, 60), review=st.floats(1, 30), level=st.floats(0.5, 0.999),
    mean=st.floats(0, 100), spread=st.floats(0, 2),
)  # fmt: skip
def test_more_service_never_orders_less(
    stock: float, lead: float, review: float, level: float, mean: float, spread: float
) -> None:
    forecast = (np.full(6, mean), np.full(6, mean * spread), WEEK)
    given = {"on_hand": stock, "lead_time_days": lead, "review_period_days": review}
    less = replenish(Position(**given, service_level=level / 2), *forecast)
    more = replenish(Position(**given, service_level=level), *forecast)
    assert 0 <= less.order_quantity <= more.order_quantity + 1e-6
    assert more.expected_stockout <= less.expected_stockout + 1e-6


def test_who_knows_what_comes_meets_all_and_holds_hardly_anything() -> None:
    rng = np.random.default_rng(0)
    demand_ST = rng.poisson(5, (30, 40)).astype(float)
    known = play(demand_ST, clairvoyant(demand_ST, 2), lead=2, on_hand_S=demand_ST[:, :3].sum(1))
    assert known.fill_rate == 1
    plenty = play(demand_ST, np.full(demand_ST.shape, 100.0), lead=2, on_hand_S=np.full(30, 100.0))
    nothing = play(demand_ST, np.zeros(demand_ST.shape), lead=2, on_hand_S=np.zeros(30))
    assert known.held == 0
    assert known.cost(Costs()) < plenty.cost(Costs())
    assert (nothing.fill_rate, nothing.held) == (0, 0)
