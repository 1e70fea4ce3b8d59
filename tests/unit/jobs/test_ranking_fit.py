"""The ranker is fitted on held-out choices as they looked then, and must order them better than retrieval does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from training.contracts.shop import Shop, ShopInfo, new_shop
from training.features.ranking import BASE_FEATURES
from training.features.sequences import Split, interest_histories, leave_one_out
from training.features.vocabulary import Vocabulary
from training.jobs.ranking_fit import Choice, Replay, _gains, fit_ranking
from training.models.popularity import Popularity, training_counts
from training.models.recommender import Recommender

BRANDS, ITEMS_EACH, USERS, EVENTS = 8, 5, 300, 8
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Users stay with one brand: popularity cannot know which, the brand affinity of their last views does."""
    rng = np.random.default_rng(0)
    items = [
        {"item_id": f"i{n:02d}", "brand": f"b{n % BRANDS}", "category": ["all"]} for n in range(BRANDS * ITEMS_EACH)
    ]
    events = []
    for user in range(USERS):
        for step in range(EVENTS):
            item = int(rng.integers(ITEMS_EACH)) * BRANDS + user % BRANDS
            when = START + timedelta(hours=int(rng.integers(24)), days=step)
            events.append({
                "event_id": f"{user}-{step}", "user_id": f"u{user:03d}", "type": "view", "item_id": f"i{item:02d}",
                "timestamp": when,
            })  # fmt: skip
    path = tmp_path_factory.mktemp("shop") / "shop"
    info = ShopInfo(shop_id="brands", reference_date=START + timedelta(days=30), positive_types=("view",))
    with new_shop(path, info) as writer:
        writer.write("items", pa.Table.from_pylist(items))
        writer.write("events", pa.Table.from_pylist(events))
    return Shop(path)


@pytest.fixture(scope="module")
def fitted(shop: Shop) -> tuple[Recommender, Replay, Split]:
    items = shop.table("items").to_pylist()
    vocabulary = Vocabulary([item["item_id"] for item in items])
    histories = interest_histories(shop.table("events"), vocabulary, shop.info.positive_types)
    split = leave_one_out(histories)
    counts_I = training_counts(split.train, len(vocabulary))
    recommender = Recommender.build(vocabulary, Popularity(counts_I), counts_I, items)
    return recommender, Replay(shop, recommender, histories, split), split


def test_two_stages_beat_one(shop: Shop, fitted: tuple[Recommender, Replay, Split]) -> None:
    recommender, replay, split = fitted
    ranking = fit_ranking(shop, recommender, replay.histories, split, seed=0)
    weights = dict(zip(BASE_FEATURES, ranking.ranker.weights, strict=True))
    assert ranking.ranker.trained_on == "replayed events"
    assert weights["brand_affinity"] > 0.5
    assert ranking.metrics["two_stage_ndcg@10"] > 2 * ranking.metrics["one_stage_ndcg@10"]


def test_a_replayed_moment_knows_nothing_of_what_came_after(fitted: tuple[Recommender, Replay, Split]) -> None:
    _, replay, split = fitted
    before_all_us = int(START.timestamp() * 1e6) - 1
    user = replay.histories.user_ids[0]
    row = dict(
        zip(BASE_FEATURES, replay.features(user, before_all_us, ["i00"], np.ones(1, np.float32))[0], strict=True)
    )
    assert row["popularity"] == row["brand_affinity"] == row["user_recency"] == 0
    choices = [choice for choice in replay.choices(split.validation) if choice is not None]
    assert all(choice.chosen_C.sum() == 1 for choice in choices)


def test_without_a_choice_to_learn_from_the_order_stays(shop: Shop, fitted: tuple[Recommender, Replay, Split]) -> None:
    recommender, replay, split = fitted
    nothing = Split(
        train=split.train, pairs=split.pairs, validation=split.validation.take(np.empty(0, np.int64)),
        test=split.test.take(np.empty(0, np.int64)), train_only_users=USERS,
    )  # fmt: skip
    ranking = fit_ranking(shop, recommender, replay.histories, nothing, seed=0)
    features_CF = np.zeros((3, len(BASE_FEATURES)), np.float32)
    features_CF[:, 0] = [1, 3, 2]
    assert np.argsort(ranking.ranker.predict(features_CF)).tolist() == [0, 2, 1]


def test_an_order_that_tells_nothing_apart_gains_nothing() -> None:
    features_CF, chosen_C = np.arange(20, dtype=np.float32)[:, None], np.arange(20) == 4
    found = [Choice(features_CF, chosen_C), None]
    assert _gains(found, lambda features: np.zeros(len(features))).tolist() == [0, 0]
    assert _gains(found, lambda features: -np.abs(features[:, 0] - 4.0).astype(np.float64)).tolist() == [1, 0]
