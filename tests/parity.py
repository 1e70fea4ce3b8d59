"""Recomputes what the ranker was served: by the shared function, and by the path that training takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deployments.state.exporting import export_shop
from deployments.state.store import Store
from training.contracts.progress import NoProgress
from training.contracts.shop import Shop
from training.features.item_facts import items_of
from training.features.profile import EVENT_COLUMNS, EventHistory
from training.features.ranking import RankingInputs, RankingState, RequestFacts, ranking_inputs
from training.features.ranking_log import CANDIDATE_LOG_NAMES, CONTEXT_LOG_NAMES, candidate_log, context_log
from training.jobs.past_shop import PastShop
from training.jobs.slates import served_slates

REPLAYED_AS_IT_WAS = frozenset({"popularity"})
"""Training takes an item's popularity at the moment of the slate, serving that at the end of the bundle's window."""


def assert_served_as_trained(store: Store, out: Path, state: RankingState, asked: Mapping[str, RequestFacts]) -> None:
    """Export the state to `out` and compare every logged input of the answers `asked`, name by name and bit by bit."""
    export_shop(store, out)
    shop = Shop(out)
    history, items = EventHistory(shop.table("events", EVENT_COLUMNS)), items_of(shop)
    logged = {row["recommendation_id"]: row for row in shop.table("recommendations").to_pylist()}
    for name, request in asked.items():
        row = logged[name]
        again = ranking_inputs(
            profile=history.profile(row["user_id"], as_of_us=_as_of_us(row)),
            item_ids=[entry["item_id"] for entry in row["slate"]],
            retrieval_scores_C=_served(row)[:, CANDIDATE_LOG_NAMES.index("retrieval_score")],
            items=items,
            state=state,
            as_of_us=_as_of_us(row),
            request=request._replace(zone=shop.info.time_zone),
        )
        _assert_equal(row, again)


def assert_examples_as_served(shop: Shop, recommender: Path, state: RankingState) -> int:
    """Compare the served log with the examples that training makes of it; returns how many slates were compared.

    Left out are slates with an event of their own moment: serving knows it, and training cannot tell what came first.
    """
    past = PastShop(shop, recommender)
    past.state = state
    examples = past.examples(served_slates(shop, newest=10**9), NoProgress())
    made = {
        (slate.user_id, slate.as_of_us): one for slate, one in zip(examples.slates, examples.inputs, strict=True)
    }  # fmt: skip
    compared = 0
    for row in shop.table("recommendations").to_pylist():
        moment = row["user_id"], _as_of_us(row)
        if past.events.profile(row["user_id"], as_of_us=moment[1]).newest_us != moment[1] and row["features"]:
            _assert_equal(row, made[moment], but=REPLAYED_AS_IT_WAS)
            compared += 1
    return compared


def _assert_equal(row: Mapping[str, Any], again: RankingInputs, but: frozenset[str] = frozenset()) -> None:
    assert (tuple(row["feature_names"]), tuple(row["context_names"])) == (CANDIDATE_LOG_NAMES, CONTEXT_LOG_NAMES)
    served_NF, trained_NF = _served(row), candidate_log(again, range(len(row["slate"])))
    for column, feature in enumerate(CANDIDATE_LOG_NAMES):
        assert feature in but or served_NF[:, column].tobytes() == trained_NF[:, column].tobytes(), feature
    context = np.array(row["context"], np.float32)
    for feature, served, trained in zip(CONTEXT_LOG_NAMES, context, context_log(again), strict=True):
        assert served.tobytes() == trained.tobytes(), feature


def _served(row: Mapping[str, Any]) -> np.ndarray:
    return np.array(row["features"], np.float32)


def _as_of_us(row: Mapping[str, Any]) -> int:
    return int(np.datetime64(row["as_of"].replace(tzinfo=None), "us").astype(np.int64))
