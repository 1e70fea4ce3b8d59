"""The metrics of looking pictures up, against hand-made lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.jobs.retrieval_metrics import hit_metrics, relevant, retrieval_metrics


def test_hits_by_hand() -> None:
    hits = np.array([[1, 0, 1] + [0] * 7, [0, 0, 0, 0, 0, 1] + [0] * 4, [0] * 10], np.bool_)
    metrics = hit_metrics(hits, np.array([2, 1, 50]))
    assert metrics["recall@1"] == pytest.approx(1 / 3)
    assert metrics["recall@5"] == pytest.approx(1 / 3)
    assert metrics["map@10"] == pytest.approx(((1 + 2 / 3) / 2 + 1 / 6 + 0) / 3)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_against_a_plain_loop(labels: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    gallery, own = rng.standard_normal((len(labels), 4)).astype(np.float32), np.array(labels)
    queries, asked = rng.standard_normal((5, 4)).astype(np.float32), rng.integers(0, 5, 5)
    first, precise = [], []
    for query, label in zip(queries, asked, strict=True):
        order = np.argsort(-(gallery @ query), kind="stable")[:10]
        hits = [own[place] == label for place in order]
        first.append(hits[0])
        parts = [sum(hits[: rank + 1]) / (rank + 1) for rank, hit in enumerate(hits) if hit]
        precise.append(sum(parts) / max(1, min(len(order), int((own == label).sum()))))
    metrics = retrieval_metrics(queries, asked, gallery, own)
    assert metrics["recall@1"] == pytest.approx(np.mean(first))
    assert metrics["map@10"] == pytest.approx(np.mean(precise), abs=1e-6)


def test_a_label_that_nobody_has_is_no_hit() -> None:
    assert relevant(np.array([7]), np.array([1, 1])).tolist() == [0]
    assert (
        retrieval_metrics(np.ones((1, 2), np.float32), np.array([-1]), np.ones((2, 2), np.float32), np.array([0, 1]))[
            "recall@5"
        ]
        == 0.0
    )
