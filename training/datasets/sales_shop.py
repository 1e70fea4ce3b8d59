"""What importers of demand data share: a shop that is a sales table and its covariates."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.covariates import Covariate, CovariateSchema
from training.contracts.errors import InputError, Problem
from training.contracts.shop import COVARIATES_FILE, ShopInfo, new_shop
from training.datasets.adapter import shop_id_of

NO_CURRENCY = "XXX"
"""ISO 4217: no currency is known."""
STATIC = Covariate(kind="static", missing="none")


def write_sales(
    out: Path, sales: pa.Table, covariates: CovariateSchema, *, name: str, currency: str | None, force: bool
) -> dict[str, int]:
    """A new shop of this table alone; its reference date is the start of the last observed period."""
    observed = sales.filter(pc.is_valid(sales["demand"]))["timestamp"]
    last = pc.max(observed).as_py() or datetime(1970, 1, 1, tzinfo=UTC)
    info = ShopInfo(
        shop_id=shop_id_of(name) or "demand", name=name, currency=currency or NO_CURRENCY, reference_date=last
    )
    with new_shop(out, info, force=force) as shop:
        shop.write("sales", sales.sort_by([("series_id", "ascending"), ("timestamp", "ascending")]))
        (shop.folder / COVARIATES_FILE).write_text(covariates.to_yaml(), encoding="utf-8")
        return shop.counts


def timestamps(days: pd.Series, file: Path, column: str) -> pa.Array:
    """Dates as the starts of periods in UTC; raises InputError naming the line of one that is none."""
    parsed = pd.to_datetime(days, errors="coerce", utc=True, format="ISO8601")
    wrong = parsed.isna().to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            Problem(file=str(file), line=row + 2, column=column, problem="not a date", found=str(days.iloc[row]),
                    allowed="ISO 8601, such as 2026-06-30")
        )  # fmt: skip
    return pa.array(parsed.dt.as_unit("us"), pa.timestamp("us", tz="UTC"))
