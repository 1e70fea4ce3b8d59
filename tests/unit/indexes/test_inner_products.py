"""What is found has the largest inner product, however long its vector is, and every kind says the same score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.contracts.errors import InputError
from training.indexes.config import IndexConfig, Kind
from training.indexes.files import ROWS_FILE
from training.indexes.hnsw import HnswIndex
from training.indexes.index import Index
from training.indexes.native import faiss
from training.indexes.registry import INDEXES, build_index, load_index

KINDS = sorted(INDEXES)
ROWS, TOP = 4000, 50


def uneven(rows: int, dim: int, seed: int) -> np.ndarray:
    """As learned item vectors are: around some directions, a few of them many times longer than most."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).standard_normal((24, dim))
    lengths = np.exp(0.6 * rng.standard_normal((rows, 1)))
    return (lengths * (centres[rng.integers(0, 24, rows)] + 0.4 * rng.standard_normal((rows, dim)))).astype(np.float32)


def built(kind: Kind, vectors: np.ndarray) -> Index:
    return build_index([f"i{n}" for n in range(len(vectors))], vectors, IndexConfig(kind=kind, exact_below=10))


def recall(index: Index, vectors: np.ndarray) -> float:
    queries = uneven(50, 32, 1)
    slots, _ = index.search(queries, TOP)
    best = np.argsort(-(queries @ vectors.T), axis=1)[:, :TOP]
    return float(np.mean([len(set(a) & set(b)) / TOP for a, b in zip(slots, best, strict=True)]))


@pytest.mark.parametrize("kind", KINDS)
def test_long_and_short_vectors_are_found(kind: Kind) -> None:
    vectors = uneven(ROWS, 32, 0)
    assert recall(built(kind, vectors), vectors) >= 0.97


@pytest.mark.parametrize("dim", [7, 63, 64])
def test_scores_are_the_same_bits_in_every_kind_and_under_every_filter(dim: int) -> None:
    vectors, queries = uneven(ROWS, dim, 0), uneven(20, dim, 1)
    said: dict[tuple[int, int], float] = {}
    for kind in KINDS:
        index = built(kind, vectors)
        for share in (1.0, 0.3, 0.002):
            allowed = np.random.default_rng(2).random(ROWS) < share
            slots, scores = index.search(queries, TOP, None if share == 1.0 else allowed)
            for query, slot in np.argwhere(slots >= 0):
                place = int(query), int(slots[query, slot])
                assert said.setdefault(place, scores[query, slot]) == scores[query, slot]


def test_vectors_longer_than_all_at_the_building_of_the_graph_are_found() -> None:
    vectors, longer = uneven(ROWS, 32, 0), 5 * uneven(60, 32, 2)
    index = built("hnsw", vectors)
    index.upsert([f"long{n}" for n in range(60)], longer)
    assert index.settle(60)
    together = np.concatenate([vectors, longer])
    assert recall(index, together) >= 0.96
    assert np.array_equal(index.vectors(), together)


def test_a_graph_by_inner_product_is_refused(tmp_path: Path) -> None:
    HnswIndex.build(["a"], np.ones((1, 3), np.float32)).save(tmp_path)
    faiss.write_index(faiss.IndexHNSWFlat(4, 8, faiss.METRIC_INNER_PRODUCT), str(tmp_path / ROWS_FILE))
    with pytest.raises(InputError, match="train again"):
        load_index(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_belongs_to_the_caller(kind: Kind) -> None:
    """Also where all rows are looked at, and stand in the order of their scores."""
    vectors = np.linspace(2, 1, 30, dtype=np.float32)[:, None] * np.ones((1, 8), np.float32)
    index = build_index([f"i{n}" for n in range(30)], vectors, IndexConfig(kind=kind))
    index.delete("i3")
    query = np.ones((1, 8), np.float32)
    before = [part.copy() for part in index.search(query, 29)]
    for part in index.search(query, 29):
        part[:] = 0
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(before, index.search(query, 29), strict=True))
