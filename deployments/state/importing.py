"""A shop folder becomes state, once per fingerprint; an import that was cut off goes on where it was."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from deployments.state.clock import ShopClock, clock_offset_us, from_us, to_us, wall_now_us
from deployments.state.events import EventRow, Outcome
from deployments.state.pictured_items import pictured_items
from deployments.state.records import Row, ServedRow, SlateEntry
from deployments.state.store import Store
from training.contracts.checks.columns import has_control_character, true_rows
from training.contracts.errors import InputError, Problem, shorten
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop, ShopInfo
from training.contracts.tables import TIMESTAMP

PIECE_ROWS = 20_000
KNOWN_SHOPS = "known_shops"
STATE_TABLES = ("items", "users", "events", "sales", "recommendations")
"""The tables whose truth is the state once a shop is imported."""


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """Rows read by table (none where this shop had been imported before) and what became of repeated events."""

    rows: dict[str, int] = field(default_factory=dict)
    duplicate_events: int = 0
    conflicting_events: int = 0


def import_shop(
    store: Store, shop: Shop, *, wall_us: Callable[[], int] = wall_now_us, progress: Progress | None = None
) -> ImportReport:
    """Bring every row of the state's tables into `store`; the shop is known to it only when all of them are in.

    A shop that is known already, or was exported from this state, changes nothing: what happened since stays. What the
    pictures of a shop without items and events are of becomes its items: once one more is put, it has a catalogue.
    """
    fingerprint = shop.fingerprint()
    known = known_shops(store)
    if fingerprint in known:
        return ImportReport()
    outcomes = dict.fromkeys(Outcome, 0)
    rows = {table: _import_table(store, shop, table, fingerprint, outcomes, progress) for table in STATE_TABLES}
    if shop.has("images") and not shop.has("items") and not shop.has("events"):
        _import_pictured(store, shop)
    store.raise_catalogue_seq(shop.info.catalogue_seq)
    imported = {
        "fingerprint": fingerprint, "folder": str(shop.path.resolve()), "sales_schema": _sales_schema(shop),
        "catalogue_seq": store.catalogue_seq(),
    }  # fmt: skip
    store.set_meta({
        "shop": shop.info.model_dump_json(),
        "clock_offset_us": str(_clock_offset_us(store, shop.info, wall_us)),
        "imported": json.dumps(imported),
        KNOWN_SHOPS: json.dumps([*known, fingerprint]),
        "import_progress": "{}",
    })  # fmt: skip
    return ImportReport(
        rows=rows, duplicate_events=outcomes[Outcome.DUPLICATE], conflicting_events=outcomes[Outcome.CONFLICT]
    )


def shop_info(store: Store) -> ShopInfo | None:
    """shop.yaml of the shop that was imported last; None until one is in."""
    said = store.meta("shop")
    return None if said is None else ShopInfo.model_validate_json(said)


def known_shops(store: Store) -> list[str]:
    """Fingerprints of the shops whose rows the state has: those imported, and those exported from it."""
    known: list[str] = json.loads(store.meta(KNOWN_SHOPS) or "[]")
    last = _note(store, "imported").get("fingerprint")
    return known if last is None or last in known else [*known, last]


def shop_clock(store: Store) -> ShopClock:
    """The clock of the imported shop, the wall clock where there is none."""
    return ShopClock(int(store.meta("clock_offset_us") or 0))


def imported_folder(store: Store) -> str | None:
    """Where the shop that was imported last lay."""
    return _note(store, "imported").get("folder")


def imported_seq(store: Store) -> int:
    """The catalogue's last change when the shop that was imported last was in."""
    return int(_note(store, "imported").get("catalogue_seq", 0))


def imported_sales_schema(store: Store) -> pa.Schema | None:
    """The sales table's columns as imported; None where the shop had no sales."""
    packed = _note(store, "imported").get("sales_schema")
    return None if packed is None else pa.ipc.read_schema(pa.py_buffer(base64.b64decode(packed)))


def _import_table(
    store: Store,
    shop: Shop,
    table: str,
    fingerprint: str,
    outcomes: dict[Outcome, int],
    progress: Progress | None,
) -> int:
    told = progress or NoProgress()
    told.stage(f"importing {table}", shop.rows(table))
    done, read = _rows_done(store, table, fingerprint), 0
    for piece in shop.batches(table, rows=PIECE_ROWS):
        read += piece.num_rows
        if read > done:
            _refuse_odd_ids(table, piece, read - piece.num_rows)
            _write(store, table, piece, outcomes)
            mark = {"fingerprint": fingerprint, "table": table, "rows": read}
            store.set_meta({"import_progress": json.dumps(mark)})
        told.advance(piece.num_rows)
    return read


def _import_pictured(store: Store, shop: Shop) -> None:
    """What its pictures are of, as items; done again it changes nothing."""
    names = pictured_items(shop)
    for odd in true_rows(has_control_character(pa.chunked_array([names], pa.string()))).tolist():
        problem = "control character in what a picture is of"
        raise InputError(Problem(table="images", problem=problem, found=shorten(names[odd])))
    for first in range(0, len(names), PIECE_ROWS):
        store.upsert_items([{"item_id": name} for name in names[first : first + PIECE_ROWS]])


def _refuse_odd_ids(table: str, piece: pa.Table, first_row: int) -> None:
    """SQLite and its JSON read an id with NUL only as far as there."""
    for name in piece.column_names:
        if name.endswith("_id") and pa.types.is_string(piece.schema.field(name).type):
            rows = true_rows(has_control_character(piece.column(name)))
            if len(rows):
                found = shorten(piece.column(name)[int(rows[0])].as_py())
                problem = Problem(
                    table=table, column=name, row=first_row + int(rows[0]), problem="control character in an id",
                    found=found,
                )  # fmt: skip
                raise InputError(problem)


def _rows_done(store: Store, table: str, fingerprint: str) -> int:
    """Rows of `table` that an unfinished import of this very shop has brought in, from the first one on."""
    mark = _note(store, "import_progress")
    if mark.get("fingerprint") != fingerprint:
        return 0
    reached, wanted = STATE_TABLES.index(mark["table"]), STATE_TABLES.index(table)
    return int(mark["rows"]) if reached == wanted else (0 if reached < wanted else 1 << 62)


def _write(store: Store, table: str, piece: pa.Table, outcomes: dict[Outcome, int]) -> None:
    if table == "events":
        for outcome in store.append_events(_event_rows(piece)):
            outcomes[outcome] += 1
    elif table == "recommendations":
        store.log_recommendations([_served_row(row) for row in _plain_rows(piece)])
    elif table == "items":
        store.upsert_items(_plain_rows(piece))
    elif table == "users":
        store.upsert_users(_plain_rows(piece))
    else:
        store.append_sales(_plain_rows(_storable(piece)))


def _plain_rows(piece: pa.Table) -> list[Row]:
    """Rows as dicts without their nulls."""
    columns = [_moments(column) if pa.types.is_timestamp(column.type) else _values(column) for column in piece.columns]
    names = piece.column_names
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*columns, strict=True)
    ]


def _moments(column: pa.ChunkedArray) -> list[datetime | None]:
    return [None if moment_us is None else from_us(moment_us) for moment_us in _values(column)]


def _storable(piece: pa.Table) -> pa.Table:
    """Covariates of types that JSON has no word for, as the nearest one it has."""
    for at, column in enumerate(piece.schema):
        type_ = column.type
        if pa.types.is_date(type_):
            piece = piece.set_column(at, column.name, piece.column(at).cast(TIMESTAMP))
        elif pa.types.is_decimal(type_):
            piece = piece.set_column(at, column.name, piece.column(at).cast(pa.float64()))
        elif pa.types.is_dictionary(type_):
            piece = piece.set_column(at, column.name, piece.column(at).cast(type_.value_type))
    return piece


def _event_rows(piece: pa.Table) -> list[EventRow]:
    times = {"timestamp_us": "timestamp", "received_at_us": "received_at"}
    columns = [piece.column(times.get(name, name)) for name in EventRow._fields]
    return list(map(EventRow, *(_values(column) for column in columns)))


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Python values, times in microseconds; through NumPy where that says the same, five times as fast."""
    if column.null_count == len(column):
        return [None] * len(column)
    if pa.types.is_timestamp(column.type):
        column = column.cast(TIMESTAMP).cast(pa.int64())
    if pa.types.is_string(column.type) or (pa.types.is_primitive(column.type) and not column.null_count):
        return list(column.to_numpy().tolist())
    return list(column.to_pylist(maps_as_pydicts="lossy"))


def _served_row(row: Row) -> ServedRow:
    features, context = row.get("features"), row.get("context")
    return ServedRow(
        recommendation_id=row["recommendation_id"],
        user_id=row["user_id"],
        as_of_us=to_us(row["as_of"]),
        slate=tuple(SlateEntry(**entry) for entry in row.get("slate", ())),
        features=None if features is None else np.array(features, dtype=np.float32),
        feature_names=tuple(row.get("feature_names", ())),
        release=row.get("release"),
        experiment=row.get("experiment", {}),
        context=None if context is None else np.array(context, dtype=np.float32),
        context_names=tuple(row.get("context_names", ())),
    )


def _sales_schema(shop: Shop) -> str | None:
    piece = next(shop.batches("sales", rows=1), None)
    return None if piece is None else base64.b64encode(piece.schema.serialize().to_pybytes()).decode()


def _clock_offset_us(store: Store, info: ShopInfo, wall_us: Callable[[], int]) -> int:
    """The offset of the first import, moved on only where a later shop ends after the clock's now."""
    held = store.meta("clock_offset_us")
    if held is not None and ShopClock(int(held), wall_us).now_us() >= to_us(info.reference_date):
        return int(held)
    return clock_offset_us(info.reference_date, wall_us=wall_us())


def _note(store: Store, name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(store.meta(name) or "{}")
    return found
