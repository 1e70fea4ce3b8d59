"""How much to order, and when: newsvendor, EOQ, (s, S) and base stock, from the demand that a forecast expects.

Source: Silver, Pyke and Thomas, Inventory and Production Management in Supply Chains, 2016.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Policy = Literal["newsvendor", "base_stock", "s_S"]
BETWEEN_10_AND_90 = 2.5631
"""Standard deviations of a normal distribution between its 10 and its 90 % quantile."""
CORRELATION = 0.2
"""Of the forecast's errors in two periods."""
DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Demand:
    """Of some stretch of time: gamma-distributed, so never negative; a spread of 0 is certainty."""

    mean: float
    deviation: float

    @property
    def _gamma(self) -> tuple[float, float]:
        variance = self.deviation**2
        return self.mean**2 / variance, variance / self.mean

    @property
    def certain(self) -> bool:
        return self.mean <= 0 or self.deviation <= 1e-9 * self.mean

    def quantile(self, level: float) -> float:
        """Demand that is not exceeded with this probability."""
        if self.certain:
            return max(self.mean, 0.0)
        return float(quantiles(np.array(self.mean), np.array(self.deviation), level))

    def expected_shortage(self, stock: float) -> float:
        """Units of demand that a stock is expected to fall short of."""
        if self.certain:
            return max(self.mean - stock, 0.0)
        shape, scale = self._gamma
        stock = max(stock, 0.0)
        beyond = float(special.gammaincc(shape + 1, stock / scale))
        return max(self.mean * beyond - stock * float(special.gammaincc(shape, stock / scale)), 0.0)


def quantiles(mean: Floats, deviation: Floats, level: float) -> Floats:
    """Demand that is not exceeded with this probability, of many `Demand`s at once."""
    certain = (mean <= 0) | (deviation <= 1e-9 * mean)
    mean, variance = np.maximum(mean, 0.0), np.where(certain, 1.0, deviation**2)
    positive = np.where(certain, 1.0, mean)
    found = special.gammaincinv(positive**2 / variance, level) * variance / positive
    return np.asarray(np.where(certain, mean, found))


def demand_over(days: float, means_H: Floats, deviations_H: Floats, period_days: float) -> Demand:
    """Of the next `days`, from the forecast of each period; beyond the last one it goes on like that."""
    periods = days / period_days
    whole = math.ceil(periods) if periods > 0 else 0
    shares_W = np.ones(whole)
    if whole:
        shares_W[-1] = periods - (whole - 1)
    places_W = np.minimum(np.arange(whole), len(means_H) - 1)
    deviations_W = deviations_H[places_W] * np.sqrt(shares_W)
    variance = (1 - CORRELATION) * (deviations_W**2).sum() + CORRELATION * deviations_W.sum() ** 2
    return Demand(float((means_H[places_W] * shares_W).sum()), float(np.sqrt(variance)))


def deviations_of(low_H: Floats, high_H: Floats) -> Floats:
    """Standard deviations from the 10 and 90 % quantiles of each period."""
    return np.maximum(high_H - low_H, 0.0) / BETWEEN_10_AND_90


def critical_ratio(holding_cost: float, stockout_cost: float) -> float:
    """The service level at which one unit more costs in stock what it saves in shortages."""
    return stockout_cost / (stockout_cost + holding_cost)


def newsvendor(demand: Demand, service_level: float) -> float:
    """The stock for one season that meets demand with this probability."""
    return demand.quantile(service_level)


def economic_order_quantity(demand_per_day: float, order_cost: float, holding_cost_per_day: float) -> float:
    """Units an order, where an order and a unit in stock for a day cost so much. Harris 1913."""
    return math.sqrt(2 * order_cost * max(demand_per_day, 0.0) / holding_cost_per_day)


@dataclass(frozen=True, kw_only=True)
class Position:
    """What is there and on its way, and how ordering goes; costs are of a unit, holding costs a day."""

    on_hand: float
    on_order: float = 0.0
    lead_time_days: float
    review_period_days: float
    service_level: float | None = None
    holding_cost: float | None = None
    stockout_cost: float | None = None
    order_cost: float | None = None

    @property
    def level(self) -> float:
        """The probability of no shortage that is aimed at, given or from the costs of a review period."""
        if self.service_level is not None:
            return self.service_level
        days = max(self.review_period_days, 1.0)
        return critical_ratio((self.holding_cost or 0.0) * days, self.stockout_cost or 0.0)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to do now. `expected_stockout`: units short until the order after next arrives, having ordered."""

    policy: Policy
    order_quantity: float
    reorder_point: float
    order_up_to: float
    expected_stockout: float
    service_level: float


def replenish(position: Position, means_H: Floats, deviations_H: Floats, period_days: float) -> Order:
    """(s, S) where an order and holding cost something, newsvendor where delivery is at once, else base stock."""
    lead, review = position.lead_time_days, position.review_period_days
    protected = demand_over(lead + review, means_H, deviations_H, period_days)
    point = protected.quantile(position.level)
    stock = position.on_hand + position.on_order
    if position.order_cost and position.holding_cost:
        per_day = protected.mean / max(lead + review, 1e-9)
        policy: Policy = "s_S"
        up_to = point + economic_order_quantity(per_day, position.order_cost, position.holding_cost)
        quantity = up_to - stock if stock <= point else 0.0
    else:
        policy, up_to = ("newsvendor" if lead == 0 else "base_stock"), point
        quantity = max(up_to - stock, 0.0)
    return Order(
        policy=policy, order_quantity=quantity, reorder_point=point, order_up_to=up_to,
        expected_stockout=protected.expected_shortage(stock + quantity), service_level=position.level,
    )  # fmt: skip


def total(demands: Sequence[Demand]) -> Demand:
    """Of several periods whose errors go together as CORRELATION says."""
    deviations = np.array([one.deviation for one in demands])
    variance = (1 - CORRELATION) * (deviations**2).sum() + CORRELATION * deviations.sum() ** 2
    return Demand(sum(one.mean for one in demands), float(np.sqrt(variance)))
