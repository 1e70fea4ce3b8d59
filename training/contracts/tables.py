"""The shop's canonical tables as Arrow schemas: a field that is nullable may also be absent."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

EVENT_TYPES = (
    "impression",
    "view",
    "search",
    "add_to_cart",
    "remove_from_cart",
    "wishlist",
    "purchase",
    "rating",
    "like",
    "dislike",
)
CUSTOM_EVENT_PREFIX = "custom:"
PLACEMENT_KINDS = ("display", "mailer", "coupon", "banner")

TIMESTAMP = pa.timestamp("us", tz="UTC")
STRING_MAP = pa.map_(pa.string(), pa.string())
SLATE = pa.list_(
    pa.struct(
        [
            pa.field("item_id", pa.string()),
            pa.field("position", pa.int32()),
            pa.field("score", pa.float64()),
            pa.field("propensity", pa.float64()),
        ]
    )
)
BOXES = pa.list_(
    pa.struct([pa.field(name, pa.float64()) for name in ("x0", "y0", "x1", "y1")] + [pa.field("label", pa.string())])
)
"""Corners as shares of the photo from 0 (left, top) to 1 (right, bottom), not pixels."""


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """One canonical table: its columns, its key, and whether further columns (covariates) may follow."""

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    open_columns: bool = False

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.schema if not field.nullable)


def _spec(name: str, key: str, columns: dict[str, pa.DataType], *, open_columns: bool = False) -> TableSpec:
    """Columns whose name ends in `?` may be null or absent."""
    fields = [pa.field(column.rstrip("?"), type_, nullable=column.endswith("?")) for column, type_ in columns.items()]
    return TableSpec(name=name, schema=pa.schema(fields), key=tuple(key.split()), open_columns=open_columns)


_s, _f, _ts, _i32, _i64 = pa.string(), pa.float64(), TIMESTAMP, pa.int32(), pa.int64()
_strings = pa.list_(pa.string())

TABLES: dict[str, TableSpec] = {
    spec.name: spec
    for spec in (
        _spec("items", "item_id", {
            "item_id": _s, "title?": _s, "description?": _s, "category?": _strings, "brand?": _s, "price?": _f,
            "currency?": _s, "cost?": _f, "stock?": _i64, "attributes?": STRING_MAP, "tags?": _strings, "image?": _s,
            "created_at?": _ts, "updated_at?": _ts,
        }),
        _spec("users", "user_id", {"user_id": _s, "attributes?": STRING_MAP, "created_at?": _ts}),
        _spec("events", "event_id", {
            "event_id": _s, "user_id": _s, "session_id?": _s, "type": _s, "item_id?": _s, "timestamp": _ts,
            "value?": _f, "quantity?": _f, "dwell_s?": _f, "query?": _s, "recommendation_id?": _s, "position?": _i32,
            "context?": STRING_MAP, "split?": _s,
            # When the shop learnt of the event; features `as_of` t see only what was known at t. Null = at once.
            "received_at?": _ts,
        }),
        _spec("recommendations", "recommendation_id", {
            "recommendation_id": _s, "user_id": _s, "as_of": _ts, "slate": SLATE,
            # One row of float32 per slate entry, in the order of feature_names.
            "features?": pa.list_(pa.list_(pa.float32())), "feature_names?": _strings, "release?": _s,
            "experiment?": STRING_MAP,
            # What all entries share of the ranker's inputs: recent behaviour and the request's circumstances.
            "context?": pa.list_(pa.float32()), "context_names?": _strings,
        }),
        _spec("sales", "series_id timestamp", {
            "series_id": _s, "item_id?": _s, "location?": _s, "timestamp": _ts, "demand?": _f, "price?": _f,
            "promotion?": _f, "split?": _s,
        }, open_columns=True),
        _spec("placements", "item_id location timestamp kind detail", {
            "item_id": _s, "location?": _s, "timestamp": _ts, "kind": _s, "detail?": _s,
        }),
        _spec("inventory", "item_id location timestamp", {
            "item_id": _s, "location": _s, "timestamp": _ts, "on_hand": _f, "on_order?": _f, "lead_time_days?": _f,
        }),
        _spec("images", "image_id", {
            "image_id": _s, "item_id?": _s, "path": _s, "label?": _s, "boxes?": BOXES, "split?": _s,
        }),
        _spec("reviews", "review_id", {
            "review_id": _s, "item_id": _s, "user_id?": _s, "timestamp?": _ts, "text": _s, "rating?": _f,
            "sentiment?": _s, "language?": _s, "split?": _s,
        }),
        _spec("orders", "order_id", {
            "order_id": _s, "user_id": _s, "timestamp": _ts, "status": _s,
            "lines": pa.list_(pa.struct([pa.field("item_id", _s), pa.field("quantity", _f), pa.field("price", _f)])),
            "address?": _s, "payment?": _s, "shipment?": _s,
        }),
        _spec("utterances", "", {"text": _s, "intent?": _s, "emotion?": _s, "language?": _s, "split?": _s}),
        _spec("dialogues", "dialogue_id turn", {
            "dialogue_id": _s, "turn": _i32, "speaker": _s, "text": _s, "state?": _s, "acts?": _s, "split?": _s,
        }),
        _spec("articles", "article_id", {
            "article_id": _s, "title": _s, "body": _s, "intents?": _strings, "channels?": _strings, "language?": _s,
            "updated_at?": _ts,
        }),
    )
}  # fmt: skip


def valid_event_type(name: str) -> bool:
    """Whether `name` is one of EVENT_TYPES or `custom:NAME`."""
    return name in EVENT_TYPES or (name.startswith(CUSTOM_EVENT_PREFIX) and len(name) > len(CUSTOM_EVENT_PREFIX))


def conform(table: pa.Table, spec: TableSpec) -> pa.Table:
    """`table` with exactly the columns of `spec` (absent nullable ones as nulls), open columns kept after them.

    Raises pa.ArrowInvalid or KeyError where a column cannot be read as its type or a required one is absent.
    """
    arrays, fields = [], []
    for field in spec.schema:
        if field.name in table.column_names:
            arrays.append(table.column(field.name).cast(field.type))
        elif field.nullable:
            arrays.append(pa.nulls(table.num_rows, field.type))
        else:
            raise KeyError(field.name)
        fields.append(field.with_nullable(True))
    if spec.open_columns:
        known = set(spec.schema.names)
        for name in table.column_names:
            if name not in known:
                arrays.append(table.column(name))
                fields.append(table.schema.field(name))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
