"""Flat search against a plain sort, through upserts, deletions and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.indexes.flat import FlatIndex

names = st.sampled_from(["b", "a", "d", "c", "e10", "e9"])
steps = st.lists(st.tuples(names, st.integers(0, 3) | st.none()), min_size=1, max_size=20)


@given(steps, st.integers(1, 8), st.integers(0, 2**6 - 1))
def test_search_is_a_sorted_catalogue(changes: list[tuple[str, int | None]], k: int, allowed_bits: int) -> None:
    index, held = FlatIndex(2), {}
    for name, value in changes:
        if value is not None:
            index.upsert([name], np.array([[value, 1.0]], np.float32))
            held[name] = value
        elif name in held:
            index.delete(name)
            del held[name]
    assert len(index) == len(held)
    mask = np.array([bool(allowed_bits >> slot & 1) for slot in range(index.slots)], np.bool_)
    for allowed in (None, mask):
        slots, scores = index.search(np.array([[1.0, 0.0]], np.float32), k, allowed)
        left = {n: v for n, v in held.items() if allowed is None or allowed[index.slot(n)]}
        expected = sorted(left, key=lambda name: (-left[name], name))[:k]
        assert [slot for slot in slots[0].tolist() if slot >= 0] == [index.slot(name) for name in expected]
        assert scores[0][: len(expected)].tolist() == [left[name] for name in expected]
        assert np.isneginf(scores[0][len(expected) :]).all()


def test_a_saved_index_answers_as_before(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    index = FlatIndex.build([f"item-{n}" for n in range(50)], vectors)
    index.delete("item-7")
    index.save(tmp_path)
    loaded = FlatIndex.load(tmp_path)
    for ours, theirs in zip(index.search(vectors, 10), loaded.search(vectors, 10), strict=True):
        assert np.array_equal(ours, theirs)
    assert "item-7" not in loaded
    assert np.array_equal(loaded.vectors(), vectors)
    with pytest.raises(KeyError):
        loaded.delete("never")
