"""The live state as a shop folder for the next training."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from deployments.state.clock import from_us
from deployments.state.events import EventRow
from deployments.state.exporting_images import export_images
from deployments.state.importing import (
    KNOWN_SHOPS,
    STATE_TABLES,
    imported_folder,
    imported_sales_schema,
    imported_seq,
    known_shops,
    shop_clock,
    shop_info,
)
from deployments.state.records import Row, ServedRow
from deployments.state.store import Store
from training.contracts.errors import InputError, Problem
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import SHOP_FILE, Shop, new_shop
from training.contracts.tables import TABLES, TIMESTAMP

NOT_CARRIED = frozenset({SHOP_FILE, "truth"} | set(STATE_TABLES) | {f"{table}.parquet" for table in STATE_TABLES})
_TIMES = {"timestamp_us": "timestamp", "received_at_us": "received_at"}


def export_shop(store: Store, out: Path, *, force: bool = False, progress: Progress | None = None) -> dict[str, int]:
    """Write `out` and return its rows by table; tables that state does not hold come from the imported folder.

    Importing `out` into this very state again changes nothing.

    Raises InputError where nothing was imported yet, or `out` is occupied and `force` false.
    """
    info = shop_info(store)
    if info is None:
        raise InputError(Problem(problem="nothing to export: no shop has been imported", allowed="shopkeeper up first"))
    told = progress or NoProgress()
    catalogue_seq, newest = store.catalogue_seq(), _Newest()
    streams = {
        "items": _items(store),
        "users": _tables("users", store.users()),
        "events": _events(store, newest),
        "recommendations": _recommendations(store.recommendations()),
        "sales": _sales(store),
    }
    with new_shop(out, info, force=force) as writer:
        for table, pieces in streams.items():
            told.stage(f"exporting {table}", store.stats()[table])
            writer.write(table, _watched(pieces, told))
        _carry(Path(imported_folder(store) or ""), writer.folder)
        export_images(store, writer, known_seq=imported_seq(store))
        ends = max(shop_clock(store).now(), from_us(newest.timestamp_us))
        writer.write_info(info.model_copy(update={"reference_date": ends, "catalogue_seq": catalogue_seq}))
    shop = Shop(out)
    store.set_meta({KNOWN_SHOPS: json.dumps([*known_shops(store), shop.fingerprint()])})
    return {table: shop.rows(table) for table in shop.tables()}


class _Newest:
    """Time of the newest event that went by, microseconds."""

    timestamp_us = 0


def _watched(pieces: Iterable[pa.Table], progress: Progress) -> Iterator[pa.Table]:
    for piece in pieces:
        progress.advance(piece.num_rows)
        yield piece


def _tables(name: str, pieces: Iterable[list[Row]]) -> Iterator[pa.Table]:
    for rows in pieces:
        yield pa.Table.from_pylist(rows, schema=_nullable(TABLES[name].schema))


def _items(store: Store) -> Iterator[pa.Table]:
    return _tables("items", _item_pieces(store))


def _item_pieces(store: Store) -> Iterator[list[Row]]:
    """Items as the log lists them; one that changes meanwhile comes again and only its last state is kept."""
    items: dict[str, Row | None] = {}
    seq = 0
    while entries := store.catalogue_since(seq, limit=5_000):
        items.update((entry.item_id, entry.item) for entry in entries)
        seq = entries[-1].seq
    yield [item for _, item in sorted(items.items()) if item is not None]


def _events(store: Store, newest: _Newest) -> Iterator[pa.Table]:
    """Event ids are unique per user in state and in the whole table of a shop, so a repeated one gets a suffix."""
    used: set[str] = set()
    for rows in store.events():
        columns: dict[str, list[Any]] = {
            _TIMES.get(name, name): [row[at] for row in rows] for at, name in enumerate(EventRow._fields)
        }
        columns["event_id"] = [_unused(event_id, used) for event_id in columns["event_id"]]
        columns["context"] = [None if context is None else list(context.items()) for context in columns["context"]]
        newest.timestamp_us = max(newest.timestamp_us, *columns["timestamp"])
        fields = _nullable(TABLES["events"].schema)
        yield pa.table({field.name: pa.array(columns[field.name], field.type) for field in fields}, schema=fields)


def _unused(event_id: str, used: set[str]) -> str:
    candidate, repeats = event_id, 1
    while candidate in used:
        repeats += 1
        candidate = f"{event_id}~{repeats}"
    used.add(candidate)
    return candidate


def _recommendations(pieces: Iterable[list[ServedRow]]) -> Iterator[pa.Table]:
    return _tables("recommendations", ([_recommendation(row) for row in rows] for rows in pieces))


def _recommendation(row: ServedRow) -> Row:
    return {
        "recommendation_id": row.recommendation_id,
        "user_id": row.user_id,
        "as_of": from_us(row.as_of_us),
        "slate": [entry._asdict() for entry in row.slate],
        "features": None if row.features is None else row.features.tolist(),
        "feature_names": list(row.feature_names) or None,
        "release": row.release,
        "experiment": list(row.experiment.items()) or None,
        "context": None if row.context is None else row.context.tolist(),
        "context_names": list(row.context_names) or None,
    }


def _sales(store: Store) -> Iterator[pa.Table]:
    schema = _sales_schema(store)
    for rows in store.sales():
        yield pa.Table.from_pylist([_fitting(row, schema) for row in rows], schema=schema)


def _sales_schema(store: Store) -> pa.Schema:
    """The canonical columns, those imported, and those that came since, each with a type that fits its values."""
    known = imported_sales_schema(store) or TABLES["sales"].schema
    kinds: dict[str, set[type]] = {}
    for row in (row for rows in store.sales() for row in rows):
        for name, value in row.items():
            if value is not None:
                kinds.setdefault(name, set()).add(type(value))
    canonical = set(TABLES["sales"].schema.names)
    types = {field.name: field.type for field in known}
    for name, found in kinds.items():
        if name not in canonical:
            types[name] = _type_of(found, types.get(name))
    return pa.schema([pa.field(name, type_) for name, type_ in types.items()])


def _type_of(kinds: set[type], imported: pa.DataType | None) -> pa.DataType:
    if kinds <= {bool}:
        return pa.bool_()
    if kinds <= {datetime}:
        return imported if imported is not None and pa.types.is_temporal(imported) else TIMESTAMP
    if kinds <= {int, float}:
        return imported if imported is not None and kinds <= {int} and pa.types.is_integer(imported) else pa.float64()
    return pa.string()


def _fitting(row: Row, schema: pa.Schema) -> Row:
    """Values of columns that turned into strings, as strings."""
    texts = {field.name for field in schema if pa.types.is_string(field.type)}
    return {name: str(value) if name in texts and value is not None else value for name, value in row.items()}


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])


def _carry(source: Path, folder: Path) -> None:
    """Everything of the imported shop that state does not hold, linked where the file system can, else copied."""
    if not (source / SHOP_FILE).is_file():
        return
    for entry in sorted(source.iterdir()):
        if entry.name in NOT_CARRIED or entry.name.startswith(".") or entry.is_symlink():
            continue
        if entry.is_dir():
            shutil.copytree(entry, folder / entry.name, copy_function=_link_or_copy, ignore=_hidden)
        else:
            _link_or_copy(str(entry), str(folder / entry.name))


def _hidden(_: str, names: Sequence[str]) -> set[str]:
    return {name for name in names if name.startswith(".")}


def _link_or_copy(source: str, target: str) -> Any:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
