"""When a period counts as sold out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.demand_shop import write_shop
from training.contracts.shop import Shop
from training.features.sales_panel import read_panel
from training.features.stockouts import stockout_mask


def counted(shop: Shop, days: range, falling: float) -> Shop:
    """Counts of every series' stock on each of these days of its weeks, falling from twice the week's sales."""
    rows = [
        {
            "item_id": row["item_id"], "location": row["location"], "timestamp": row["timestamp"] + timedelta(days=day),
            "on_hand": 2 * (row["demand"] or 0.0) * falling**day + 1.0,
        }
        for row in shop.table("sales").to_pylist()
        for day in days
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), shop.path / "inventory.parquet")
    return Shop(shop.path)


def test_the_earliest_count_of_a_period_says_what_it_began_with(tmp_path: Path) -> None:
    shop = counted(write_shop(tmp_path / "shop"), range(7), 0.7)
    panel = read_panel(shop)
    assert not stockout_mask(shop, panel).any()


def test_a_period_that_sold_what_it_began_with_is_sold_out(tmp_path: Path) -> None:
    shop = counted(write_shop(tmp_path / "shop"), range(6, 7), 0.7)
    panel = read_panel(shop)
    mask_SP = stockout_mask(shop, panel)
    assert mask_SP[np.isfinite(panel.demand_SP) & (panel.demand_SP > 10)].all()
