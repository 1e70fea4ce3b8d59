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
    CONTEXT_NAMES,
    DAY_US,
    FEATURE_NAMES,
    RECENT_NAMES,
    ItemFacts,
    RankingInputs,
    RankingState,
    RequestFacts,
    fit_price_edges,
    log_popularity,
    ranking_features,
    ranking_inputs,
)
from training.features.ranking_log import (
    CANDIDATE_LOG_NAMES,
    CONTEXT_LOG_NAMES,
    candidate_log,
    context_log,
    inputs_of_log,
)
from training.features.ranking_state import CODE_NAMES, TRAITS, fit_vocabularies
from training.features.short_term import RECENT_ITEMS

ITEMS = {
    f"i{n}": ItemFacts(
        created_us=0.0,
        leaf=f"root/leaf{n % 4}",
        root="root",
        brand=f"b{n % 3}",
        price=float(n),
        traits=(f"colour={n % 5}", f"#tag{n % 2}"),
    )
    for n in range(20)
} | {"bare": ItemFacts()}
STATE = RankingState(
    price_edges=fit_price_edges(ITEMS),
    popularity=log_popularity({f"i{n}": n for n in range(20)}),
    ordinal_time=False,
    vocabularies=fit_vocabularies(ITEMS, [f"i{n}" for n in range(10)]),
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


def inputs(profile: Profile, item_ids: list[str], request: RequestFacts = RequestFacts()) -> RankingInputs:
    scores_C = np.zeros(len(item_ids), np.float32)
    return ranking_inputs(
        profile=profile, item_ids=item_ids, retrieval_scores_C=scores_C, items=ITEMS, state=STATE, as_of_us=NOW_US,
        request=request,
    )  # fmt: skip


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
    views = [("i1", "view", 1, 0.0)] * 30 + [("i0", "view", 2, 0.0)] * 8 + [("i4", "view", 3, 0.0)] * 2
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


@given(profile=profiles, item_ids=candidates)
def test_codes_and_short_term_interest_do_not_depend_on_the_other_candidates(
    profile: Profile, item_ids: list[str]
) -> None:
    together = inputs(profile, item_ids)
    assert together.recent_RF.shape == (RECENT_ITEMS, len(RECENT_NAMES))
    for index, item_id in enumerate(item_ids):
        alone = inputs(profile, [item_id])
        assert (alone.codes_CK[0] == together.codes_CK[index]).all()
        for one, other in zip(alone[2:], together[2:], strict=True):
            assert (one == other).all()
            assert np.isfinite(one).all()


@given(profile=profiles, item_ids=candidates)
def test_logged_rows_give_the_inputs_back_to_the_bit(profile: Profile, item_ids: list[str]) -> None:
    original = inputs(profile, item_ids)
    chosen = list(range(0, len(item_ids), 2))
    candidates_nX, context_X = candidate_log(original, chosen), context_log(original)
    assert candidates_nX.shape == (len(chosen), len(CANDIDATE_LOG_NAMES))
    assert context_X.shape == (len(CONTEXT_LOG_NAMES),)
    back = inputs_of_log(candidates_nX, context_X)
    assert (back.features_CF == original.features_CF[chosen]).all()
    assert (back.codes_CK == original.codes_CK[chosen]).all()
    for one, other in zip(back[2:], original[2:], strict=True):
        assert (one == other).all()


def test_several_events_on_an_item_are_one_touch_with_all_its_dwell() -> None:
    minute_us = 60_000_000
    rows = [
        ("i1", "view", NOW_US - 90 * minute_us, 5.0),
        ("i2", "view", NOW_US - 3 * minute_us, 10.0),
        ("i2", "add_to_cart", NOW_US - 2 * minute_us, 0.0),
        ("i3", "view", NOW_US - minute_us, 20.0),
    ]
    seen = inputs(make_profile("u", rows), ["i2"])
    old, carted, newest = (dict(zip(RECENT_NAMES, row.tolist(), strict=True)) for row in seen.recent_RF[-3:])
    assert (seen.recent_RF[:-3] == 0).all()
    assert (old["in_session"], carted["in_session"]) == (0.0, 1.0)
    assert carted["dwell"] == pytest.approx(math.log1p(10))
    assert carted["carts"] == pytest.approx(math.log(2))
    assert newest["age"] == pytest.approx(math.log1p(60))
    context = dict(zip(CONTEXT_NAMES, seen.context_U.tolist(), strict=True))
    assert context["views_30m"] == pytest.approx(math.log1p(2))
    assert context["items_30m"] == pytest.approx(math.log1p(2))
    assert context["dwell_30m"] == pytest.approx(math.log1p(30))


def test_the_clock_is_that_of_the_shop() -> None:
    noon = inputs(Profile("u"), ["i1"]).context_U  # NOW_US is midnight in UTC
    there = inputs(Profile("u"), ["i1"], RequestFacts(zone="Asia/Tokyo")).context_U
    hour = CONTEXT_NAMES.index("hour_cos")
    assert noon[hour] == pytest.approx(1.0)
    assert there[hour] == pytest.approx(math.cos(2 * math.pi * 9 / 24))


def test_scenario_and_device_are_flags() -> None:
    said = inputs(Profile("u"), ["i1"], RequestFacts(scenario="cart", device="fridge")).context_U
    flags = dict(zip(CONTEXT_NAMES, said.tolist(), strict=True))
    assert {name for name, value in flags.items() if name[:8] in ("scenario", "device_o") and value} == {
        "scenario_cart",
        "device_other",
    }


def test_an_unknown_item_has_codes_by_what_is_known_of_it() -> None:
    codes = dict(zip(CODE_NAMES, inputs(Profile("u"), ["i12"]).codes_CK[0].tolist(), strict=True))
    assert codes["item"] == 0
    assert codes["leaf"] > 0
    assert sum(codes[f"trait_{slot}"] > 0 for slot in range(TRAITS)) == 1  # the tags are on ten items, colours on four
