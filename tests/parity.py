"""Recomputes what the ranker was served, by the path that training takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from deployments.state.exporting import export_shop
from deployments.state.store import Store
from training.contracts.shop import Shop
from training.features.item_facts import items_of
from training.features.profile import EVENT_COLUMNS, EventHistory
from training.features.ranking import RankingState, RequestFacts, ranking_inputs
from training.features.ranking_log import CANDIDATE_LOG_NAMES, CONTEXT_LOG_NAMES, candidate_log, context_log


def assert_served_as_trained(store: Store, out: Path, state: RankingState, asked: Mapping[str, RequestFacts]) -> None:
    """Export the state to `out` and compare every logged input of the answers `asked`, name by name and bit by bit."""
    export_shop(store, out)
    shop = Shop(out)
    history, items = EventHistory(shop.table("events", EVENT_COLUMNS)), items_of(shop)
    logged = {row["recommendation_id"]: row for row in shop.table("recommendations").to_pylist()}
    for name, request in asked.items():
        row = logged[name]
        as_of_us = int(np.datetime64(row["as_of"].replace(tzinfo=None), "us").astype(np.int64))
        served_NF = np.array(row["features"], np.float32)
        again = ranking_inputs(
            profile=history.profile(row["user_id"], as_of_us=as_of_us),
            item_ids=[entry["item_id"] for entry in row["slate"]],
            retrieval_scores_C=served_NF[:, CANDIDATE_LOG_NAMES.index("retrieval_score")],
            items=items,
            state=state,
            as_of_us=as_of_us,
            request=request._replace(zone=shop.info.time_zone),
        )
        assert (tuple(row["feature_names"]), tuple(row["context_names"])) == (CANDIDATE_LOG_NAMES, CONTEXT_LOG_NAMES)
        trained_NF = candidate_log(again, range(len(row["slate"])))
        for column, feature in enumerate(CANDIDATE_LOG_NAMES):
            assert served_NF[:, column].tobytes() == trained_NF[:, column].tobytes(), feature
        for feature, served, trained in zip(
            CONTEXT_LOG_NAMES, np.array(row["context"], np.float32), context_log(again), strict=True
        ):
            assert served.tobytes() == trained.tobytes(), feature
