"""Walmart's weekly sales by store and department, with markdowns, weather and the economy around each store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.covariates import Covariate, CovariateSchema
from training.contracts.progress import NoProgress, Progress
from training.datasets.adapter import DatasetAdapter, only_file
from training.datasets.csv_tables import find_csv, read_csv
from training.datasets.sales_shop import STATIC, timestamps, write_sales

SATURDAY_TO_FRIDAY = pa.scalar(timedelta(days=6), pa.duration("us"))
"""A week of the files is named by the Friday that ends it (Labor Day 2010, a Monday, is in that of 2010-09-10)."""
_s, _f = pa.string(), pa.float64()
_SALES = {"Store": _s, "Dept": _s, "Date": _s, "Weekly_Sales": _f, "IsHoliday": _s}
_FEATURES = {
    "Store": _s, "Date": _s, "Temperature": _f, "Fuel_Price": _f, "CPI": _f, "Unemployment": _f, "IsHoliday": _s,
    **{f"MarkDown{n}": _f for n in range(1, 6)},
}  # fmt: skip
_STORES = {"Store": _s, "Type": _s, "Size": _f}
COVARIATES = CovariateSchema(covariates={
    "department": STATIC, "store_type": STATIC, "store_size": STATIC,
    "holiday": Covariate(kind="known_future", missing="zero"),
    **dict.fromkeys(
        ("temperature", "fuel_price", "cpi", "unemployment"), Covariate(kind="past_only", missing="last")
    ),
    "markdown": Covariate(kind="past_only", missing="zero"),
})  # fmt: skip


def read(folder: Path, out: Path, *, force: bool = False, progress: Progress = NoProgress()) -> dict[str, int]:
    """Import a folder of the format into a new shop at `out`; returns rows per table."""
    progress.stage(f"reading {folder}")
    sales, features, stores = (
        _frame(folder, *of) for of in (("train", _SALES), ("features", _FEATURES), ("stores", _STORES))
    )
    known = features.drop(columns="IsHoliday").merge(stores, on="Store", how="left", validate="many_to_one")
    joined = sales.merge(known, on=["Store", "Date"], how="left", validate="many_to_one")
    file = find_csv(folder, "train")[0]
    markdowns = [f"MarkDown{n}" for n in range(1, 6)]
    table = pa.table({
        "series_id": pa.array(joined["Store"] + "-" + joined["Dept"], _s),
        "item_id": pa.array(joined["Dept"], _s),
        "location": pa.array(joined["Store"], _s),
        "timestamp": pc.subtract(timestamps(joined["Date"], file, "Date"), SATURDAY_TO_FRIDAY),
        "demand": pa.array(joined["Weekly_Sales"], _f),
        "price": pa.nulls(len(joined), _f),
        "promotion": pa.nulls(len(joined), _f),
        "split": pa.nulls(len(joined), _s),
        "department": pa.array(joined["Dept"], _s),
        "store_type": pa.array(joined["Type"], _s),
        "store_size": pa.array(joined["Size"], _f, from_pandas=True),
        "holiday": pa.array((joined["IsHoliday"].str.lower() == "true").astype(float), _f),
        "temperature": pa.array(joined["Temperature"], _f, from_pandas=True),
        "fuel_price": pa.array(joined["Fuel_Price"], _f, from_pandas=True),
        "cpi": pa.array(joined["CPI"], _f, from_pandas=True),
        "unemployment": pa.array(joined["Unemployment"], _f, from_pandas=True),
        "markdown": pa.array(joined[markdowns].sum(axis=1, min_count=1), _f, from_pandas=True),
    })  # fmt: skip
    return write_sales(out, table, COVARIATES, name="walmart weekly", currency="USD", force=force)


def _frame(folder: Path, stem: str, columns: dict[str, pa.DataType]) -> pd.DataFrame:
    file = only_file(folder, find_csv(folder, stem), wanted=f"{stem}.csv[.gz]")
    keys = [name for name in ("Store", "Dept", "Date") if name in columns]
    frame = read_csv(file, columns, filled=keys).to_pandas()
    return frame.replace({np.nan: None}) if stem == "stores" else frame


ADAPTER = DatasetAdapter(
    name="walmart-weekly",
    description="Weekly sales of 45 stores by 81 departments, with markdowns and weather.",
    reads="train.csv[.gz], features.csv[.gz], stores.csv[.gz]",
    origin="Kaggle, Walmart Recruiting - Store Sales Forecasting, 2014",
    licence="competition rules: non-commercial",
    reader=read,
)
