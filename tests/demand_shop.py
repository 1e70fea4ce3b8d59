"""A small made-up shop of demand: weekly seasons, prices that matter, a covariate that is known only so far."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from training.contracts.covariates import Covariate, CovariateSchema
from training.contracts.shop import COVARIATES_FILE, Shop, ShopInfo, new_shop
from training.features.demand import Panel
from training.features.sales_panel import read_panel

START = datetime(2023, 1, 2, tzinfo=UTC)
WEEKS, AHEAD, ITEMS, PLACES = 130, 8, 6, 3
SCHEMA = CovariateSchema(
    covariates={
        "family": Covariate(kind="static", missing="none"),
        "price": Covariate(kind="known_future", missing="last"),
        "promotion": Covariate(kind="known_future", missing="zero"),
        "weather": Covariate(kind="past_only", missing="last"),
    }
)


def sales_rows(*, weeks: int = WEEKS, items: int = ITEMS, seed: int = 0) -> dict[str, list[Any]]:
    """Columns of a sales table: `weeks` observed ones, then AHEAD known ones."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list[Any]] = {
        name: [] for name in ("series_id", "item_id", "location", "timestamp", "demand", "price", "promotion", "family",
                              "weather")
    }  # fmt: skip
    for item in range(items):
        for place in range(PLACES):
            promoted = rng.random(weeks + AHEAD) < 0.2
            price = np.where(promoted, 1.5, 2.0) * (1 + item / 4)
            week = np.arange(weeks + AHEAD)
            usual = 40 * (1 + place) * (1 + 0.4 * np.sin(2 * np.pi * week / 52 + item))
            demand = np.round(usual * np.where(promoted, 2.5, 1.0) * rng.gamma(40, 1 / 40, len(week)))
            for step in week:
                future = step >= weeks
                columns["series_id"].append(f"i{item}@p{place}")
                columns["item_id"].append(f"i{item}")
                columns["location"].append(f"p{place}")
                columns["timestamp"].append(START + timedelta(weeks=int(step)))
                columns["demand"].append(None if future else float(demand[step]))
                columns["price"].append(float(price[step]))
                columns["promotion"].append(float(promoted[step]))
                columns["family"].append("even" if item % 2 == 0 else "odd")
                columns["weather"].append(None if future else float(rng.normal()))
    return columns


def write_shop(folder: Path, columns: dict[str, list[Any]] | None = None, schema: CovariateSchema = SCHEMA) -> Shop:
    table = columns or sales_rows()
    moments = [moment for moment, demand in zip(table["timestamp"], table["demand"], strict=True) if demand is not None]
    info = ShopInfo(shop_id="demand", reference_date=max(moments, default=START), currency="USD")
    with new_shop(folder, info, force=True) as writer:
        writer.write("sales", pa.table(table))
        (writer.folder / COVARIATES_FILE).write_text(schema.to_yaml())
    return Shop(folder)


def small_panel(folder: Path, **rows: int) -> Panel:
    return read_panel(write_shop(folder, sales_rows(**rows)))
