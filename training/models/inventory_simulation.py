"""A warehouse of many items played period by period: what an ordering policy costs and how much demand it meets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.models.replenishment import Floats


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Of a unit: held for a period, or asked for and not there."""

    holding: float = 1.0
    shortage: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of all items over the periods that count: what was asked for, sold and left over each period."""

    demand: float
    sold: float
    held: float
    stock: float
    """Mean stock within a period, from after delivery to its end, over all periods."""

    @property
    def fill_rate(self) -> float:
        """Share of demand that was met."""
        return self.sold / self.demand if self.demand else 1.0

    def cost(self, costs: Costs) -> float:
        """Holding is charged on the mean stock within a period: even who is sold out at its end held something."""
        return costs.holding * self.stock + costs.shortage * (self.demand - self.sold)


def play(demand_ST: Floats, order_up_to_ST: Floats, *, lead: int, on_hand_S: Floats, skip: int = 0) -> Outcome:
    """Each period: deliveries come, an order brings stock and pipeline up to the level, demand is met or lost.

    An order placed in period t arrives at the start of t + lead + 1; nan demand is no demand. Orders are never taken
    back. The first lead + 1 periods live on what was there, and are left out of the outcome, as are the first `skip`.
    """
    series, periods = demand_ST.shape
    stock_S, arriving_ST = on_hand_S.astype(float).copy(), np.zeros((series, periods + lead + 1))
    demand = sold = held = mean_stock = 0.0
    for period in range(periods):
        stock_S = stock_S + arriving_ST[:, period]
        pipeline_S = arriving_ST[:, period + 1 :].sum(1)
        arriving_ST[:, period + lead + 1] += np.maximum(order_up_to_ST[:, period] - stock_S - pipeline_S, 0.0)
        wanted_S = np.maximum(np.nan_to_num(demand_ST[:, period]), 0.0)
        met_S = np.minimum(wanted_S, stock_S)
        stock_S = stock_S - met_S
        if period > lead and period >= skip:
            demand, sold, held = demand + wanted_S.sum(), sold + met_S.sum(), held + stock_S.sum()
            mean_stock += (stock_S + met_S / 2).sum()
    return Outcome(demand=float(demand), sold=float(sold), held=float(held), stock=float(mean_stock))


def clairvoyant(demand_ST: Floats, lead: int) -> Floats:
    """order_up_to_ST of one who knows what comes: exactly the demand until the next order arrives."""
    wanted_ST = np.maximum(np.nan_to_num(demand_ST), 0.0)
    padded_ST = np.pad(wanted_ST, ((0, 0), (0, lead + 2)))
    return np.stack([padded_ST[:, t : t + lead + 2].sum(1) for t in range(demand_ST.shape[1])], axis=1)
