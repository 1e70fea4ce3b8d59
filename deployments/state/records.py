"""Items, users, sales and served answers as state keeps them: how they merge and how they become JSON."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import orjson

from deployments.state.clock import from_us, to_us

Row = dict[str, Any]
"""One row of a canonical table by column: datetimes aware in UTC, maps as dicts, lists as lists."""


class Upserted(StrEnum):
    """What became of one partial update."""

    UPSERTED = "upserted"
    STALE = "stale"


class CatalogueEntry(NamedTuple):
    """The latest word on one item: `item` is None where it was deleted."""

    seq: int
    item_id: str
    item: Row | None


class SlateEntry(NamedTuple):
    item_id: str
    position: int
    score: float | None = None
    propensity: float | None = None


@dataclass(frozen=True, kw_only=True)
class ServedRow:
    """One answer as it was served, with the ranker's inputs to the bit, or None where nothing was ranked.

    `features` is float32 with one row per slate entry; `context`, float32 [X], is what all of them share.
    """

    recommendation_id: str
    user_id: str
    as_of_us: int
    slate: tuple[SlateEntry, ...]
    features: np.ndarray | None = None
    feature_names: tuple[str, ...] = ()
    release: str | None = None
    experiment: Mapping[str, str] = field(default_factory=dict)
    context: np.ndarray | None = None
    context_names: tuple[str, ...] = ()


def merge(held: Row, patch: Mapping[str, Any]) -> Row:
    """`held` overlaid by a partial update: null clears, attributes merge by key."""
    merged = {**held, **{name: value for name, value in patch.items() if name != "attributes"}}
    if "attributes" in patch:
        named = {} if patch["attributes"] is None else {**held.get("attributes", {}), **patch["attributes"]}
        merged["attributes"] = {name: value for name, value in named.items() if value is not None} or None
    return {name: value for name, value in merged.items() if value is not None}


def merge_items(held: Mapping[str, Row], patches: Sequence[Mapping[str, Any]]) -> tuple[list[Upserted], dict[str, Row]]:
    """The outcome of each patch in turn, and the items that come out other than held."""
    changed: dict[str, Row] = {}
    outcomes = []
    for patch in patches:
        item_id = patch["item_id"]
        before = changed.get(item_id, held.get(item_id, {}))
        stale = is_stale(before, patch)
        outcomes.append(Upserted.STALE if stale else Upserted.UPSERTED)
        if not stale and (after := merge(before, patch)) != before:
            changed[item_id] = after
    return outcomes, changed


def is_stale(held: Row, patch: Mapping[str, Any]) -> bool:
    """Whether the update is older than what is held; an update without a time never is."""
    known, said = held.get("updated_at"), patch.get("updated_at")
    return known is not None and said is not None and to_us(said) < to_us(known)


def encode_row(row: Mapping[str, Any]) -> str:
    """JSON with datetimes as {"us": n}, so that any column keeps its type."""
    return orjson.dumps(row, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_SORT_KEYS).decode()


def decode_row(text: str) -> Row:
    return {name: _rich(value) for name, value in orjson.loads(text).items()}


def encode_served(row: ServedRow) -> str:
    """JSON; arrays as base64 of little-endian float32, so that they come back to the bit."""
    return orjson.dumps({
        "recommendation_id": row.recommendation_id,
        "user_id": row.user_id,
        "as_of_us": row.as_of_us,
        "slate": [list(entry) for entry in row.slate],
        "features": _packed(row.features),
        "shape": None if row.features is None else row.features.shape,
        "feature_names": row.feature_names,
        "release": row.release,
        "experiment": dict(row.experiment),
        "context": _packed(row.context),
        "context_names": _packed_names(row.context_names),
    }).decode()  # fmt: skip


def decode_served(text: str) -> ServedRow:
    """Answers of an earlier version have no context."""
    said = orjson.loads(text)
    shape, features, context = said.pop("shape"), said.pop("features"), said.pop("context", None)
    return ServedRow(
        features=None if features is None else _unpacked(features).reshape(shape),
        context=None if context is None else _unpacked(context),
        slate=tuple(SlateEntry(*entry) for entry in said.pop("slate")),
        feature_names=tuple(said.pop("feature_names")),
        context_names=_unpacked_names(said.pop("context_names", "")),
        **said,
    )


def _packed(array: np.ndarray | None) -> str | None:
    return None if array is None else base64.b64encode(np.ascontiguousarray(array, dtype="<f4").tobytes()).decode()


def _unpacked(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype="<f4")


@lru_cache(maxsize=16)
def _packed_names(names: tuple[str, ...]) -> str:
    """Two hundred names that are the same in every answer of a release, in a fifth of their size."""
    return base64.b64encode(zlib.compress(orjson.dumps(names))).decode() if names else ""


@lru_cache(maxsize=16)
def _unpacked_names(text: str) -> tuple[str, ...]:
    return tuple(orjson.loads(zlib.decompress(base64.b64decode(text)))) if text else ()


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return {"us": to_us(value)}
    raise TypeError(f"{type(value).__name__} has no place in a row")


def _rich(value: Any) -> Any:
    return (
        from_us(value["us"])
        if isinstance(value, dict) and value.keys() == {"us"} and type(value["us"]) is int
        else value
    )
