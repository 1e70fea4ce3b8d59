"""What was shown to whom, and what came of it: the impressions of the served log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.shop import Shop
from training.features.profile import is_interest
from training.features.short_term import RequestFacts, request_of_log

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

HEADS = ("click", "cart", "purchase")
CLICK, CART, PURCHASE = range(len(HEADS))
NO_POSITION = -1
NO_REQUEST = RequestFacts()
STAGES = {"add_to_cart": CART, "remove_from_cart": CART, "purchase": PURCHASE}
"""How far down the funnel an event is; every other sign of interest is a click."""


@dataclass(frozen=True, kw_only=True)
class Slate:
    """C items put before one user at one moment; labels_CH say which heads' actions followed.

    `positions_C` are NO_POSITION where the items were not shown in an order; `scores_C` is retrieval's, NaN where it
    was not logged. `outcomes_us` are the moments of the events that the labels stem from.
    """

    user_id: str
    as_of_us: int
    item_ids: tuple[str, ...]
    labels_CH: Bools
    positions_C: npt.NDArray[np.int64]
    scores_C: Floats
    request: RequestFacts = NO_REQUEST
    outcomes_us: tuple[int, ...] = ()


@dataclass
class _Feedback:
    """What the events say of one answer: the furthest stage and the moments by item, and the impressions."""

    stages: dict[str, int] = field(default_factory=dict)
    moments_us: list[int] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)


def served_slates(shop: Shop, *, newest: int) -> list[Slate]:
    """The `newest` answers of the served log in order of time; where impressions were sent, only what was seen.

    An item's labels follow the funnel: who bought it put it in the cart and clicked it. What is known of the request
    is what the answer itself logged: events follow from the outcome, and what they alone tell would tell it too.
    """
    if not shop.has("recommendations"):
        return []
    feedback = _feedback(shop)
    columns = [
        "recommendation_id", "user_id", "as_of", "slate", "features", "feature_names", "context", "context_names",
    ]  # fmt: skip
    table = shop.table("recommendations", columns).sort_by("as_of")
    rows = table.slice(max(len(table) - newest, 0))
    slates = (_slate(row, feedback.get(row["recommendation_id"], _Feedback())) for row in _rows(rows))
    return [slate for slate in slates if slate is not None]


def _rows(table: pa.Table) -> Iterator[Mapping[str, Any]]:
    moments_us = table["as_of"].cast(pa.int64()).to_pylist()
    for row, moment_us in zip(table.drop_columns(["as_of"]).to_pylist(), moments_us, strict=True):
        yield {**row, "as_of_us": moment_us}


def _slate(row: Mapping[str, Any], feedback: _Feedback) -> Slate | None:
    entries = [
        (entry, place)
        for place, entry in enumerate(row["slate"])
        if not feedback.seen or entry["item_id"] in feedback.seen or entry["item_id"] in feedback.stages
    ]
    if not entries:
        return None
    scores_C = _logged_scores(row)
    item_ids = tuple(entry["item_id"] for entry, _ in entries)
    return Slate(
        user_id=row["user_id"],
        as_of_us=row["as_of_us"],
        item_ids=item_ids,
        labels_CH=_labels(item_ids, feedback.stages),
        positions_C=np.asarray([entry["position"] for entry, _ in entries], np.int64),
        scores_C=scores_C[[place for _, place in entries]],
        request=request_of_log(row["context_names"] or (), row["context"] or ()),
        outcomes_us=tuple(feedback.moments_us),
    )


def _labels(item_ids: Sequence[str], stages: Mapping[str, int]) -> Bools:
    furthest_C1 = np.asarray([stages.get(item_id, -1) for item_id in item_ids])[:, None]
    return np.asarray(furthest_C1 >= np.arange(len(HEADS)), np.bool_)


def _logged_scores(row: Mapping[str, Any]) -> Floats:
    """Retrieval's scores as they were served; NaN without them."""
    names, features = row["feature_names"] or [], row["features"] or []
    if "retrieval_score" not in names or len(features) != len(row["slate"]):
        return np.full(len(row["slate"]), np.nan, np.float32)
    column = names.index("retrieval_score")
    return np.asarray([entry[column] for entry in features], np.float32)


def _feedback(shop: Shop) -> dict[str, _Feedback]:
    """What followed each answer, by recommendation_id."""
    found: dict[str, _Feedback] = {}
    columns = ["type", "item_id", "timestamp", "recommendation_id"]
    for piece in shop.batches("events", columns):
        rows = piece.filter(pc.and_(pc.is_valid(piece["recommendation_id"]), pc.is_valid(piece["item_id"])))
        moments_us = rows["timestamp"].cast(pa.int64()).to_pylist()
        for row, moment_us in zip(rows.to_pylist(), moments_us, strict=True):
            _note(found.setdefault(row["recommendation_id"], _Feedback()), row, moment_us)
    return found


def _note(feedback: _Feedback, row: Mapping[str, Any], moment_us: int) -> None:
    item_id, kind = row["item_id"], row["type"]
    if kind == "impression":
        feedback.seen.add(item_id)
    elif kind in STAGES or is_interest(kind):
        feedback.stages[item_id] = max(feedback.stages.get(item_id, CLICK), STAGES.get(kind, CLICK))
        feedback.moments_us.append(moment_us)
