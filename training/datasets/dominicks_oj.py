"""Orange juice at Dominick's: weekly units of 11 brands in 83 stores, with prices, coupons and features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from training.contracts.covariates import Covariate, CovariateSchema
from training.contracts.errors import InputError, Problem
from training.contracts.progress import NoProgress, Progress
from training.datasets.adapter import DatasetAdapter, only_file
from training.datasets.csv_tables import find_csv, read_csv
from training.datasets.sales_shop import STATIC, write_sales

_s, _f, _i = pa.string(), pa.float64(), pa.int64()
BRANDS = 11
PRICES = [f"price{n}" for n in range(1, BRANDS + 1)]
_PANEL = {
    "store": _s, "brand": _i, "week": _i, "logmove": _f, **dict.fromkeys(PRICES, _f), "deal": _f, "feat": _f,
    "profit": _f,
}  # fmt: skip
WEEK_0 = pd.Timestamp("1989-09-07", tz="UTC")
"""Week 0 of the University of Chicago's calendar; weeks run from Thursday to Wednesday."""
_AHEAD = Covariate(kind="known_future", missing="last")
COVARIATES = CovariateSchema(covariates={
    "brand": STATIC, "store": STATIC,
    "price": _AHEAD, "promotion": Covariate(kind="known_future", missing="zero"),
    "feature": Covariate(kind="known_future", missing="zero"),
    "rivals_price": _AHEAD, "rivals_lowest_price": _AHEAD,
    "margin": Covariate(kind="past_only", missing="last"),
})  # fmt: skip


def read(folder: Path, out: Path, *, force: bool = False, progress: Progress = NoProgress()) -> dict[str, int]:
    """Import a folder of the format into a new shop at `out`; returns rows per table."""
    progress.stage(f"reading {folder}")
    file = only_file(folder, find_csv(folder, "yx"), wanted="yx.csv[.gz]")
    frame = read_csv(file, _PANEL, filled=["store", "brand", "week", "logmove"]).to_pandas()
    wrong = ~frame["brand"].between(1, BRANDS)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise InputError(
            Problem(file=str(file), line=row + 2, column="brand", problem="no such brand",
                    found=str(frame["brand"].iloc[row]), allowed=f"1 to {BRANDS}")
        )  # fmt: skip
    own_N, prices_NB = frame["brand"].to_numpy() - 1, frame[PRICES].to_numpy(np.float64)
    rivals_NB = prices_NB.copy()
    rivals_NB[np.arange(len(frame)), own_N] = np.nan
    brand = frame["brand"].astype(str)
    table = pa.table({
        "series_id": pa.array(frame["store"] + "-" + brand, _s),
        "item_id": pa.array(brand, _s),
        "location": pa.array(frame["store"], _s),
        "timestamp": pa.array(WEEK_0 + pd.to_timedelta(7 * frame["week"], unit="D"), pa.timestamp("us", tz="UTC")),
        "demand": pa.array(np.exp(frame["logmove"].to_numpy()), _f),
        "price": pa.array(prices_NB[np.arange(len(frame)), own_N], _f),
        "promotion": pa.array(frame["deal"], _f, from_pandas=True),
        "split": pa.nulls(len(frame), _s),
        "brand": pa.array(brand, _s),
        "store": pa.array(frame["store"], _s),
        "feature": pa.array(frame["feat"], _f, from_pandas=True),
        "rivals_price": pa.array(np.nanmean(rivals_NB, axis=1), _f),
        "rivals_lowest_price": pa.array(np.nanmin(rivals_NB, axis=1), _f),
        "margin": pa.array(frame["profit"], _f, from_pandas=True),
    })  # fmt: skip
    return write_sales(out, table, COVARIATES, name="dominicks oj", currency="USD", force=force)


ADAPTER = DatasetAdapter(
    name="dominicks-oj",
    description="Weekly units of 11 orange juices in 83 stores, with own and rivals' prices, coupons and features.",
    reads="yx.csv[.gz]",
    origin="Kilts Center, Chicago Booth, through the R package bayesm (Montgomery, Marketing Science 1997)",
    licence="academic use",
    reader=read,
)
