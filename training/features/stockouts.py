"""Stock-outs hide demand: what sold is a lower bound where the shelf was empty. The mask, and what was wanted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.shop import Shop
from training.features.demand import Bools, Floats, Panel

NEIGHBOURS, LEAST_KNOWN, MOST_LIFT = 8, 3, 3.0
SOLD_OUT = 0.98
"""Of the stock at the period's start: what sold beyond it left the shelf empty."""


def stockout_mask(shop: Shop, panel: Panel) -> Bools:
    """mask_SP: periods whose sales took all stock that `inventory` knows of, or that began with none.

    Of several counts in one period the earliest tells what it began with.
    """
    inventory = shop.table("inventory", ["item_id", "location", "timestamp", "on_hand"])
    of_item = {
        (item_id, location): row
        for row, (item_id, location) in enumerate(zip(panel.series.item_id, panel.series.location, strict=True))
    }
    items, places = inventory["item_id"].to_pylist(), inventory["location"].to_pylist()
    row_N = np.array([of_item.get(key, -1) for key in zip(items, places, strict=True)], np.int64)
    times_us_N = inventory["timestamp"].cast(pa.int64()).to_numpy(zero_copy_only=False)
    column_N = panel.frequency.period(times_us_N) - panel.first
    on_hand_N = pc.cast(inventory["on_hand"], pa.float64()).to_numpy(zero_copy_only=False)
    inside = (row_N >= 0) & (column_N >= 0) & (column_N < panel.demand_SP.shape[1])
    on_hand_SP = np.full(panel.demand_SP.shape, np.nan)
    newest_first = np.flatnonzero(inside)[np.argsort(-times_us_N[inside], kind="stable")]
    on_hand_SP[row_N[newest_first], column_N[newest_first]] = on_hand_N[newest_first]
    with np.errstate(invalid="ignore"):
        return (panel.demand_SP >= SOLD_OUT * on_hand_SP) & np.isfinite(panel.demand_SP) & np.isfinite(on_hand_SP)


def recovered(panel: Panel, censored_SP: Bools) -> Panel:
    """The panel with censored demand raised to what the periods before it let expect; `sold_SP` keeps what was sold.

    The expectation is the median of the last uncensored periods before, so that nothing of a later one gets into a
    forecast's past; never below what sold, never beyond three times the demand that was usual until then.
    """
    sold_SP = panel.demand_SP
    open_SP = np.where(censored_SP, np.nan, sold_SP)
    wanted_SP = sold_SP.copy()
    for row in np.flatnonzero(censored_SP.any(1)):
        wanted_SP[row] = _wanted(sold_SP[row], open_SP[row], censored_SP[row])
    return replace(panel, demand_SP=wanted_SP, censored_SP=censored_SP, sold_SP=sold_SP)


def _wanted(sold_P: Floats, open_P: Floats, censored_P: Bools) -> Floats:
    known = np.flatnonzero(np.isfinite(open_P))
    wanted_P = sold_P.copy()
    for place in np.flatnonzero(censored_P):
        before = known[known < place]
        if len(before) >= LEAST_KNOWN:
            most = MOST_LIFT * float(np.median(open_P[before]))
            wanted_P[place] = max(sold_P[place], min(float(np.median(open_P[before[-NEIGHBOURS:]])), most))
    return wanted_P
