"""84.51's Complete Journey: a year of a grocer's baskets, its products, households, promotions and coupons."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import ShopInfo, new_shop
from training.contracts.tables import STRING_MAP, TABLES, TIMESTAMP
from training.datasets.adapter import DatasetAdapter, only_file, shop_id_of
from training.datasets.csv_tables import find_csv, read_csv

# Weeks run from Monday; week 1 of the data is the one that holds 1 January 2017.
FIRST_WEEK = datetime(2016, 12, 26, tzinfo=UTC)
_s, _f, _i = pa.string(), pa.float64(), pa.int64()
_TRANSACTIONS = {
    "household_id": _s, "store_id": _s, "basket_id": _s, "product_id": _s, "quantity": _f, "sales_value": _f,
    "retail_disc": _f, "coupon_disc": _f, "week": _i, "transaction_timestamp": TIMESTAMP,
}  # fmt: skip
_NEVER_EMPTY = ("household_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp")
_KEYS = ("product_id", "household_id", "campaign_id", "coupon_upc", "start_date", "week")
_PRODUCTS = dict.fromkeys(
    ("product_id", "manufacturer_id", "department", "brand", "product_category", "product_type", "package_size"), _s
)
_DEMOGRAPHICS = dict.fromkeys(
    (
        "household_id", "age", "income", "home_ownership", "marital_status", "household_size", "household_comp",
        "kids_count",
    ),
    _s,
)  # fmt: skip
_PROMOTIONS = {"product_id": _s, "store_id": _s, "display_location": _s, "mailer_location": _s, "week": _i}
_COUPONS = dict.fromkeys(("coupon_upc", "product_id", "campaign_id"), _s)
_CAMPAIGNS = {"campaign_id": _s, "start_date": TIMESTAMP}


def read(folder: Path, out: Path, *, force: bool = False, progress: Progress = NoProgress()) -> dict[str, int]:
    """Import a folder of the format into a new shop at `out`; returns rows per table.

    `transactions_sample` becomes shop `complete-journey-sample`: the whole year is another shop.
    """
    file = only_file(folder, find_csv(folder, "transactions"), wanted="transactions[_sample].csv[.gz]")
    progress.stage(f"reading {file.name}")
    lines = read_csv(file, _TRANSACTIONS, filled=_NEVER_EMPTY)
    lines = lines.sort_by([("transaction_timestamp", "ascending"), ("basket_id", "ascending")])
    last: datetime = pc.max(lines["transaction_timestamp"]).as_py() or FIRST_WEEK
    info = ShopInfo(
        shop_id=shop_id_of("complete-journey", file.name.split(".csv")[0].removeprefix("transactions")),
        name="The Complete Journey",
        currency="USD",
        reference_date=last,
        positive_types=("purchase",),
        repeats=True,
    )
    with new_shop(out, info, force=force) as shop:
        progress.stage("writing the tables")
        shop.write("items", _items(lines, _optional(folder, "products", _PRODUCTS)))
        shop.write("users", _users(lines, _optional(folder, "demographics", _DEMOGRAPHICS)))
        shop.write("events", _events(lines))
        shop.write("orders", _orders(lines))
        placements = pa.concat_tables([_promotions(folder), _coupons(folder)])
        if placements.num_rows:
            shop.write("placements", placements)
        return shop.counts


def _optional(folder: Path, stem: str, columns: dict[str, pa.DataType]) -> pa.Table:
    """The table of that name, or none of its rows where the folder lacks it."""
    files = find_csv(folder, stem)
    if not files:
        return pa.schema(columns).empty_table()
    file = only_file(folder, files, wanted=f"{stem}[_sample].csv[.gz]")
    return read_csv(file, columns, filled=[name for name in columns if name in _KEYS])


def _unit_prices(lines: pa.Table) -> pa.ChunkedArray:
    """What one unit cost, null where the quantity is zero."""
    quantity = pc.if_else(pc.equal(lines["quantity"], 0.0), pa.scalar(None, _f), lines["quantity"])
    return pc.round(pc.divide(lines["sales_value"], quantity), 4)


def _items(lines: pa.Table, products: pa.Table) -> pa.Table:
    """Every product of the catalogue and every one sold; the price is the median of the unit prices paid."""
    paid = pd.DataFrame({"item": lines["product_id"].to_pandas(), "price": _unit_prices(lines).to_pandas()})
    medians = paid.groupby("item")["price"].median().round(4)
    frame = products.to_pandas().drop_duplicates("product_id").set_index("product_id")
    frame = frame.rename(columns={"manufacturer_id": "manufacturer"})
    frame = frame.reindex(frame.index.union(pd.Index(paid["item"].unique()), sort=True))
    return pa.table({
        "item_id": pa.array(frame.index, _s),
        "title": pa.array(frame["product_type"], _s),
        "category": _lists(frame[["department", "product_category", "product_type"]]),
        "brand": pa.array(frame["brand"], _s),
        "price": pa.array(medians.reindex(frame.index).to_numpy(), _f, from_pandas=True),
        "currency": pa.array(["USD"] * len(frame), _s),
        "attributes": _maps(frame[["package_size", "manufacturer"]]),
    })  # fmt: skip


def _users(lines: pa.Table, people: pa.Table) -> pa.Table:
    """Every household that buys or is described."""
    frame = people.to_pandas().drop_duplicates("household_id").set_index("household_id")
    frame = frame.reindex(frame.index.union(pd.Index(lines["household_id"].to_pandas().unique()), sort=True))
    return pa.table({"user_id": pa.array(frame.index, _s), "attributes": _maps(frame)})


def _events(lines: pa.Table) -> pa.Table:
    """One purchase per line of a basket."""
    baskets = lines["basket_id"].to_pandas()
    nth = pa.array(baskets.groupby(baskets).cumcount().astype(str), _s)
    context = pd.DataFrame({
        "store": lines["store_id"].to_pandas(),
        "retail_discount": lines["retail_disc"].cast(_s).to_pandas(),
        "coupon_discount": lines["coupon_disc"].cast(_s).to_pandas(),
    })  # fmt: skip
    return pa.table({
        "event_id": pc.binary_join_element_wise(lines["basket_id"], nth, ":"),
        "user_id": lines["household_id"],
        "session_id": lines["basket_id"],
        "type": pa.array(["purchase"] * lines.num_rows, _s),
        "item_id": lines["product_id"],
        "timestamp": lines["transaction_timestamp"],
        "value": lines["sales_value"],
        "quantity": lines["quantity"],
        "context": _maps(context),
    })  # fmt: skip


def _orders(lines: pa.Table) -> pa.Table:
    """One order per basket; `lines` are sorted by time and basket."""
    baskets = lines["basket_id"].to_numpy()
    firsts = np.flatnonzero(np.r_[True, baskets[1:] != baskets[:-1]]) if len(baskets) else np.array([], dtype=np.int64)
    bought = pa.StructArray.from_arrays(
        [
            lines["product_id"].combine_chunks(),
            lines["quantity"].combine_chunks(),
            _unit_prices(lines).combine_chunks(),
        ],
        fields=list(TABLES["orders"].schema.field("lines").type.value_type),
    )
    heads = lines.take(pa.array(firsts))
    return pa.table({
        "order_id": heads["basket_id"],
        "user_id": heads["household_id"],
        "timestamp": heads["transaction_timestamp"],
        "status": pa.array(["completed"] * len(firsts), _s),
        "lines": pa.ListArray.from_arrays(pa.array(np.r_[firsts, len(baskets)], pa.int32()), bought),
    })  # fmt: skip


def _promotions(folder: Path) -> pa.Table:
    """Displays in the store and places in the mailer, by week; location code 0 means none."""
    frame = _optional(folder, "promotions", _PROMOTIONS).to_pandas()
    parts = []
    for kind in ("display", "mailer"):
        part = frame[["product_id", "store_id", "week", f"{kind}_location"]].set_axis(
            ["item", "store", "week", "detail"], axis=1
        )
        parts.append(part[part["detail"].fillna("0") != "0"].drop_duplicates().assign(kind=kind))
    placed = pd.concat(parts, ignore_index=True)
    starts = pd.Timestamp(FIRST_WEEK) + pd.to_timedelta(7 * (placed["week"].astype("int64") - 1), unit="D")
    return _placements(placed.assign(start=starts))


def _coupons(folder: Path) -> pa.Table:
    """Coupons of a product, from the day their campaign starts."""
    coupons = _optional(folder, "coupons", _COUPONS).to_pandas()
    campaigns = _optional(folder, "campaign_descriptions", _CAMPAIGNS).to_pandas()
    joined = coupons.merge(campaigns.drop_duplicates("campaign_id"), on="campaign_id").drop_duplicates()
    return _placements(pd.DataFrame({
        "item": joined["product_id"],
        "store": pd.Series(None, index=joined.index, dtype="str"),
        "kind": "coupon",
        "detail": joined["campaign_id"] + ":" + joined["coupon_upc"],
        "start": joined["start_date"],
    }))  # fmt: skip


def _placements(frame: pd.DataFrame) -> pa.Table:
    return pa.table({
        "item_id": pa.array(frame["item"], _s),
        "location": pa.array(frame["store"], _s, from_pandas=True),
        "timestamp": pa.array(frame["start"]).cast(TIMESTAMP),
        "kind": pa.array(frame["kind"], _s),
        "detail": pa.array(frame["detail"], _s),
    })  # fmt: skip


def _lists(frame: pd.DataFrame) -> pa.Array:
    """list<str> per row of the values that are there."""
    values, offsets = _present(frame)
    return pa.ListArray.from_arrays(offsets, pa.array(values, _s))


def _maps(frame: pd.DataFrame) -> pa.Array:
    """map<str, str> per row of the columns whose value is there."""
    values, offsets = _present(frame)
    names = np.tile(frame.columns.to_numpy(dtype=object), len(frame))[frame.notna().to_numpy().ravel()]
    return pa.MapArray.from_arrays(offsets, pa.array(names, _s), pa.array(values, _s), type=STRING_MAP)


def _present(frame: pd.DataFrame) -> tuple[np.ndarray, pa.Array]:
    """The values that are there, row by row, and where each row begins."""
    there = frame.notna().to_numpy()
    offsets = np.r_[0, there.sum(axis=1).cumsum()]
    return frame.to_numpy(dtype=object).ravel()[there.ravel()], pa.array(offsets, pa.int32())


ADAPTER = DatasetAdapter(
    name="complete-journey",
    description="A year of a grocer's baskets with prices paid, households, promotions and coupons.",
    reads="transactions[_sample].csv[.gz]; products, demographics, promotions[_sample], coupons and"
    " campaign_descriptions where there are any",
    origin="84.51 (dunnhumby) Complete Journey 2.0, R package completejourney",
    licence="CC0",
    reader=read,
)
