"""Ranking features: finite, independent of the batch, and saying what their names say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.features.profile import Profile, make_profile
from training.features.ranking import (
    DAY_US,
    FEATURE_NAMES,
    ItemFacts,
    RankingState,
    fit_price_edges,
    log_popularity,
    ranking_features,
)

ITEMS = {
    f"i{n}": ItemFacts(leaf=f"root/leaf{n % 4}", root="root", brand=f"b{n % 3}", price=float(n), created_us=0.0)
    for n in range(20)
} | {"bare": ItemFacts()}
STATE = RankingState(
    price_edges=fit_price_edges(ITEMS), popularity=log_popularity({f"i{n}": n for n in range(20)}), ordinal_time=False
)
NOW_US = 100 * DAY_US
profiles = st.lists(
    st.tuples(st.sampled_from(sorted(ITEMS)), st.just("view"), st.integers(0, NOW_US), st.just(0.0)), max_size=30
).map(lambda rows: make_profile("u", rows))
candidates = st.lists(st.sampled_from([*sorted(ITEMS), "unknown"]), min_size=1, max_size=20)


def features(profile: Profile, item_ids: list[str], state: RankingState = STATE) -> np.ndarray:
    scores_C = np.asarray([float(len(item_id)) for item_id in item_ids], np.float32)
    return ranking_features(
        profile=profile, item_ids=item_ids, retrieval_scores_C=scores_C, items=ITEMS, state=state, as_of_us=NOW_US
    )


def named(row: np.ndarray) -> dict[str, float]:
    return dict(zip(FEATURE_NAMES, row.tolist(), strict=True))


@given(profile=profiles, item_ids=candidates)
def test_each_row_is_the_same_alone_and_among_others_to_the_bit(profile: Profile, item_ids: list[str]) -> None:
    together = features(profile, item_ids)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    for index, item_id in enumerate(item_ids):
        assert (features(profile, [item_id])[0] == together[index]).all()


def test_affinities_are_shares_of_the_last_ten_views() -> None:
    views = [("i1", "view", 1)] * 30 + [("i0", "view", 2)] * 8 + [("i4", "view", 3)] * 2
    row = named(features(make_profile("u", views), ["i4"])[0])
    assert row["category_affinity"] == 1.0  # i0 and i4 share leaf0
    assert row["brand_affinity"] == pytest.approx(0.2)
    assert row["root_affinity"] == 1.0


def test_recency_halves_in_a_day() -> None:
    profile = make_profile("u", [("i1", "view", NOW_US - DAY_US, 0.0)])
    seen, unseen = (named(row) for row in features(profile, ["i1", "i2"]))
    assert seen["seen_recency"] == pytest.approx(0.5)
    assert unseen["seen_recency"] == 0.0
    assert unseen["user_recency"] == pytest.approx(0.5)


def test_ordinal_time_is_never_learned_from() -> None:
    ordinal = STATE.model_copy(update={"ordinal_time": True})
    early, late = (make_profile("u", [("i1", "view", moment, 0.0)]) for moment in (1, NOW_US))
    assert (features(early, ["i1", "i2"], ordinal) == features(late, ["i1", "i2"], ordinal)).all()


def test_the_price_band_is_a_decile_of_the_leaf() -> None:
    cheap, dear = (named(row) for row in features(Profile("u"), ["i0", "i16"]))
    assert cheap["price_band"] < dear["price_band"] <= 1.0
    assert named(features(Profile("u"), ["bare"])[0])["price_band"] == 0.5


def test_the_state_survives_its_file(tmp_path: Path) -> None:
    STATE.save(tmp_path / "state.json")
    assert RankingState.load(tmp_path / "state.json") == STATE


def test_popularity_grows_with_counts() -> None:
    assert log_popularity({"a": 0, "b": 10}) == {"a": 0.0, "b": math.log(11)}
