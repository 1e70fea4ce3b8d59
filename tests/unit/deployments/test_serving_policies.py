"""Slates, cursors and reasons, by their invariants."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.policies.cursor import decode_cursor, encode_cursor, item_hash
from deployments.policies.reasons import reasons
from deployments.policies.slate import best_first, diversify, explore
from training.features.ranking import ItemFacts

Scores = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(Scores)
def test_order_is_by_score_then_id(scores: list[float]) -> None:
    ids = [f"i{n}" for n in range(len(scores))]
    order = best_first(np.array(scores), [0.0] * len(ids), ids)
    assert [(-scores[n], ids[n]) for n in order] == sorted(
        (-score, item) for score, item in zip(scores, ids, strict=True)
    )


@given(Scores, st.floats(0, 1), st.integers(1, 40))
def test_diversity_only_reorders(scores: list[float], weight: float, count: int) -> None:
    facts = [ItemFacts(leaf=f"l{n % 3}", root="r", brand=f"b{n % 2}") for n in range(len(scores))]
    order = diversify(range(len(scores)), np.array(scores), facts, weight=weight, count=count)
    assert sorted(order) == list(range(len(scores)))


def test_diversity_takes_the_next_category_first() -> None:
    facts = [ItemFacts(leaf="a"), ItemFacts(leaf="a"), ItemFacts(leaf="b")]
    assert diversify([0, 1, 2], np.array([1.0, 0.85, 0.8]), facts, weight=0.5, count=3) == [0, 2, 1]


@given(st.integers(1, 20), st.floats(0, 1), st.integers(1, 25), st.integers())
def test_exploration_takes_each_once(size: int, rate: float, count: int, seed: int) -> None:
    picks = explore(range(size), rate=rate, count=count, seed=seed)
    assert len({pick.candidate for pick in picks}) == len(picks) == min(size, count)
    assert all(0 < pick.propensity <= 1 for pick in picks)


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
def test_propensities_are_the_frequencies(rate: float) -> None:
    """At the first place the propensities of all candidates sum to 1, and each is how often it comes."""
    seen: dict[int, list[float]] = {}
    runs = 4000
    for seed in range(runs):
        pick = explore(range(4), rate=rate, count=1, seed=seed)[0]
        seen.setdefault(pick.candidate, []).append(pick.propensity)
    assert math.isclose(sum(said[0] for said in seen.values()), 1.0)
    for said in seen.values():
        assert len(set(said)) == 1
        assert abs(len(said) / runs - said[0]) < 4 * math.sqrt(0.25 / runs)


@given(st.lists(st.text(min_size=1), max_size=50), st.text(min_size=1))
def test_cursor_comes_back(ids: list[str], user: str) -> None:
    text = encode_cursor(map(item_hash, ids), user_id=user)
    assert decode_cursor(text, user_id=user).shown == tuple(map(item_hash, ids))


@given(st.text(max_size=200))
def test_no_text_breaks_the_cursor(text: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        decode_cursor(text, user_id="u")


def test_reasons_say_what_the_features_say() -> None:
    facts = ItemFacts(leaf="Home/Desks", root="Home", brand="Nord")
    said = reasons({"brand_affinity": 0.2, "popularity": 3.0}, facts, popular_at=2.0, affinity=None)
    assert [reason["code"] for reason in said] == ["brand", "popular"]
    assert "Nord" in said[0]["text"]
    assert [reason["code"] for reason in reasons({}, facts, popular_at=0.0, affinity=None)] == ["taste"]
