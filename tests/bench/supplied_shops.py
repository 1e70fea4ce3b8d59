"""Shops that a replenishment benchmark supplies: what sold, what people wanted, what was there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.contracts.shop import Shop
from training.features.demand import Bools, Floats, Ints, Panel
from training.features.stockouts import recovered
from training.jobs.forecaster import JOB
from training.jobs.forecaster_config import ForecasterConfig
from training.jobs.forecaster_task import task_of

WEEK_DAYS = 7.0
REVIEW_WEEKS = 1


@dataclass(frozen=True, kw_only=True)
class Trade:
    """A shop to be supplied: `panel` holds what sold, wanted_SP what was asked for, on the same weeks.

    `censored_SP`: weeks that sold out; the policies see them raised to what the weeks before and around them let
    expect, by what had sold at the time of ordering. on_hand_S: stock at the start of the held-out weeks.
    """

    panel: Panel
    wanted_SP: Floats
    censored_SP: Bools | None
    on_hand_S: Floats | None
    lead_weeks: int
    country: str | None

    @property
    def protected_weeks(self) -> int:
        """From an order until the next one's delivery."""
        return self.lead_weeks + REVIEW_WEEKS

    def until(self, origin: int) -> Panel:
        """What is known when week `origin` has ended."""
        known = self.panel.until(origin)
        if self.censored_SP is None:
            return known
        return recovered(known, self.censored_SP & np.isfinite(known.demand_SP))

    def take(self, rows: Ints) -> Trade:
        """Some of its series."""
        return replace(
            self,
            panel=self.panel.take(rows),
            wanted_SP=self.wanted_SP[rows],
            censored_SP=None if self.censored_SP is None else self.censored_SP[rows],
            on_hand_S=None if self.on_hand_S is None else self.on_hand_S[rows],
        )


def of_shop(shop: Shop, config: ForecasterConfig, *, lead_weeks: int) -> Trade:
    """A shop that never ran out, as far as is known: what sold was all that was asked for."""
    data = JOB.load(shop, config)
    return Trade(
        panel=data.panel, wanted_SP=data.panel.demand_SP, censored_SP=None, on_hand_S=None, lead_weeks=lead_weeks,
        country=data.country,
    )  # fmt: skip


def of_sample(path: Path, config: ForecasterConfig) -> Trade:
    """The sample shop: what people wanted is its hidden truth, lead time and stock are its inventory table's."""
    data = JOB.load(Shop(path), config)
    sold = np.isfinite(data.panel.demand_SP).any(1)
    panel = data.panel.take(np.flatnonzero(sold))
    cut = int(task_of(panel, config.horizon, config.origins).cut_S[0])
    truth = pq.read_table(path / "truth" / "demand.parquet")
    wanted_N = truth["wanted"].to_numpy() + truth["panel_units"].to_numpy()
    inventory = Shop(path).table("inventory", ["item_id", "timestamp", "on_hand", "lead_time_days"])
    on_hand_SP = _placed(panel, inventory, inventory["on_hand"].to_numpy())
    return Trade(
        panel=replace(panel, demand_SP=panel.sold_SP, sold_SP=None, censored_SP=None),
        wanted_SP=_placed(panel, truth, wanted_N),
        censored_SP=panel.censored_SP,
        on_hand_S=on_hand_SP[:, cut + 1 - panel.first],
        lead_weeks=round(float(np.median(inventory["lead_time_days"].to_numpy())) / WEEK_DAYS),
        country=data.country,
    )


def _placed(panel: Panel, table: Any, values_N: Floats) -> Floats:
    """Values of a table's rows, by item and timestamp, on the panel's series and weeks."""
    row_of = {item_id: row for row, item_id in enumerate(panel.series.item_id)}
    row_N = np.array([row_of.get(item_id, -1) for item_id in table["item_id"].to_pylist()])
    times_us_N = table["timestamp"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    column_N = panel.frequency.period(times_us_N) - panel.first
    placed_SP = np.full(panel.demand_SP.shape, np.nan)
    kept = (row_N >= 0) & (column_N >= 0) & (column_N < placed_SP.shape[1])
    placed_SP[row_N[kept], column_N[kept]] = values_N[kept]
    return placed_SP
