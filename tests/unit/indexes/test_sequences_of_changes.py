"""Every kind of index against a plain table, through upserts, deletions, masks, rebuilds and reloads."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.indexes.config import IndexConfig, Kind
from training.indexes.exact import ExactIndex
from training.indexes.registry import INDEXES, build_index, load_index

KINDS = sorted(INDEXES)
DIM = 4
NAMES = [f"e{n}" for n in range(12)]
Step = tuple[str, int | None]
steps = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(-3, 3) | st.none()), min_size=1, max_size=40)


def vector(name: str, value: int) -> np.ndarray:
    """Few values, so that many scores are equal."""
    return np.array([[value, NAMES.index(name) % 3, 1.0, 0.5]], np.float32)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=steps, k=st.integers(1, 15), bits=st.integers(0, 2**12 - 1), exact_below=st.sampled_from([0, 4]))
def test_answers_are_those_of_a_sorted_table(
    kind: Kind, changes: list[Step], k: int, bits: int, exact_below: int
) -> None:
    """A dozen vectors: every kind finds all of them, whatever it is made of."""
    config = IndexConfig(
        kind=kind, rebuild_dead_least=2, rebuild_dead_share=0.2, exact_below=exact_below, exact_below_share=0.0
    )
    index, held = build_index([], np.zeros((0, DIM), np.float32), config), dict[str, np.ndarray]()
    for name, value in changes:
        if value is not None:
            held[name] = vector(name, value)
            index.upsert([name], held[name])
        elif name in held:
            index.delete(name)
            del held[name]
    if bits % 2:
        assert index.settle(60)
    if bits % 3 == 0:
        with tempfile.TemporaryDirectory() as folder:
            index.save(Path(folder))
            index = load_index(Path(folder))
    assert len(index) == len(held)
    assert {name for name in NAMES if name in index} == set(held)
    query = np.array([[1.0, 2.0, -1.0, 0.25]], np.float32)
    mask = np.array([bool(bits >> slot & 1) for slot in range(index.slots)], np.bool_)
    for allowed in (None, mask):
        slots, scores = index.search(query, k, allowed)
        left = {name: float(held[name][0] @ query[0]) for name in held if allowed is None or allowed[index.slot(name)]}
        expected = sorted(left, key=lambda name: (-left[name], name))[: slots.shape[1]]
        assert scores[0, : len(expected)].tolist() == [left[name] for name in expected]
        assert np.isneginf(scores[0, len(expected) :]).all()
        assert (slots[0, len(expected) :] == -1).all()
        assert [left[index.ids[slot]] for slot in slots[0, : len(expected)]] == [left[name] for name in expected]
        if kind == "exact":
            assert slots[0, : len(expected)].tolist() == [index.slot(name) for name in expected]


def clustered(rows: int, seed: int, dim: int = 16) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).standard_normal((24, dim))
    return (centres[rng.integers(0, 24, rows)] + 0.4 * rng.standard_normal((rows, dim))).astype(np.float32)


@pytest.mark.parametrize("kind", ["hnsw", "ivf_pq"])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.05, 0.002])
def test_clustered_vectors_are_found_through_changes_and_filters(kind: Kind, share: float) -> None:
    rng = np.random.default_rng(1)
    ids = [f"i{n}" for n in range(4000)]
    config = IndexConfig(kind=kind, exact_below=20, pq_bytes=8, ivf_nprobe=32)
    index = build_index(ids, clustered(4000, 0), config)
    exact = build_index(ids, index.vectors(), IndexConfig(kind="exact"))
    changed = [ids[n] for n in rng.choice(4000, 300, replace=False)] + [f"new{n}" for n in range(200)]
    news, gone = clustered(500, 2), [ids[n] for n in rng.choice(4000, 200, replace=False)]
    for either in (index, exact):
        either.upsert(changed, news)
        for name in gone:
            either.delete(name)
    allowed = None if share == 1.0 else rng.random(index.slots) < share
    queries = clustered(40, 3)
    found, scores = index.search(queries, 50, allowed)
    best, _ = exact.search(queries, 50, allowed)
    vectors = exact.vectors()
    for row in range(len(queries)):
        real = found[row][found[row] >= 0]
        assert len(real) == (best[row] >= 0).sum()
        assert allowed is None or allowed[real].all()
        assert not {index.ids[slot] for slot in real} & set(gone)
        assert np.allclose(scores[row][: len(real)], vectors[real] @ queries[row], atol=1e-5)
        assert (np.diff(scores[row][: len(real)]) <= 0).all()
    recall = np.mean(
        [len(set(a) & set(b) - {-1}) / max(len(set(b) - {-1}), 1) for a, b in zip(found, best, strict=True)]
    )
    assert recall >= 0.95


def test_equal_scores_beyond_what_is_fetched_are_ordered_by_id() -> None:
    ids = [f"i{n:03d}" for n in np.random.default_rng(0).permutation(400)]
    index = ExactIndex.build(ids, np.ones((400, 8), np.float32))
    slots, _ = index.search(np.ones((1, 8), np.float32), 10)
    assert [ids[slot] for slot in slots[0]] == sorted(ids)[:10]


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_grown_from_nothing_is_rebuilt_and_keeps_its_slots(kind: Kind) -> None:
    index = build_index([], np.zeros((0, 16), np.float32), IndexConfig(kind=kind, ivf_nprobe=64, rebuild_dead_least=50))
    vectors = clustered(3000, 0)
    for start in range(0, 3000, 500):
        index.upsert([f"i{n}" for n in range(start, start + 500)], vectors[start : start + 500])
    index.upsert([f"i{n}" for n in range(800)], vectors[:800] + 1)
    index.delete("i2999")
    assert index.settle(60)
    vectors[:800] += 1
    vectors[2999] = 0
    assert np.array_equal(index.vectors(), vectors)
    assert [index.slot(f"i{n}") for n in range(3000)] == list(range(3000))
    exact = build_index(index.ids, vectors, IndexConfig(kind="exact"))
    found, best = index.search(vectors[:50], 20)[0], exact.search(vectors[:50], 20)[0]
    assert np.mean([len(set(a) & set(b)) / 20 for a, b in zip(found, best, strict=True)]) >= 0.95


def test_float16_behind_the_codes_rounds_the_scores() -> None:
    vectors = clustered(2000, 0)
    ids = [f"i{n}" for n in range(2000)]
    index = build_index(ids, vectors, IndexConfig(kind="ivf_pq", refine_dtype="float16", ivf_nprobe=64))
    slots, scores = index.search(vectors[:20], 10)
    true = np.take_along_axis(vectors[:20] @ vectors.T, slots, axis=1)
    assert np.allclose(scores, true, rtol=2e-3, atol=2e-3)


def test_auto_goes_by_the_size_of_the_catalogue() -> None:
    config = IndexConfig(exact_up_to=10)
    assert [config.kind_for(n) for n in (0, 10, 11)] == ["exact", "exact", "ivf_pq"]
    config = IndexConfig(exact_up_to=10, hnsw_up_to=100)
    assert [config.kind_for(n) for n in (10, 11, 100, 101)] == ["exact", "hnsw", "hnsw", "ivf_pq"]
    assert IndexConfig(kind="hnsw").kind_for(3) == "hnsw"
