"""Ranks, lists and metrics against a plain sort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from training.metrics import NEVER, Floats, list_metrics, ranking_metrics, target_ranks, top_k

scores = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=st.sampled_from([0, 1, 2, 3])
)


@given(scores, st.data())
def test_a_rank_is_a_place_in_the_sorted_catalogue(scores_BI: Floats, data: st.DataObject) -> None:
    items = scores_BI.shape[1]
    targets = np.array([data.draw(st.integers(0, items - 1)) for _ in scores_BI])
    expected = [
        sorted(range(items), key=lambda item: (-row[item], item)).index(target) + 1
        for row, target in zip(scores_BI, targets, strict=True)
    ]
    assert target_ranks(scores_BI, targets).tolist() == expected


@given(scores, st.integers(0, 15), st.randoms())
def test_top_k_is_the_head_of_the_sorted_catalogue(scores_BI: Floats, k: int, random: object) -> None:
    items = scores_BI.shape[1]
    order = np.random.default_rng(abs(hash(random)) % 2**32).permutation(items)
    for ties in (None, order):
        tie = np.arange(items) if ties is None else ties
        expected = [sorted(range(items), key=lambda item: (-row[item], tie[item]))[:k] for row in scores_BI]
        assert top_k(scores_BI, k, ties).tolist() == expected


def test_a_target_that_is_left_out_is_never_found() -> None:
    ranks = target_ranks(np.array([[0.5, -np.inf]], np.float32), np.array([1]))
    assert ranks[0] == NEVER
    assert set(ranking_metrics(ranks).values()) == {0.0}


def test_metrics_by_hand() -> None:
    metrics = ranking_metrics(np.array([1, 3, 7, 20]))
    assert metrics["hr@5"] == pytest.approx(0.5)
    assert metrics["hr@10"] == pytest.approx(0.75)
    assert metrics["ndcg@10"] == pytest.approx((1 + 1 / np.log2(4) + 1 / np.log2(8)) / 4)
    assert metrics["mrr"] == pytest.approx((1 + 1 / 3 + 1 / 7 + 1 / 20) / 4)
    lists = list_metrics(np.array([[0, 1], [0, 2]]), np.array([50, 9, 10, 0]))
    assert lists == {"coverage@10": 0.75, "tail_share@10": 0.25}
    assert ranking_metrics(np.zeros(0, np.int64))["ndcg@10"] == 0.0
