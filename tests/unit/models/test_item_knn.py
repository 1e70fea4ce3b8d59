"""Item-kNN: the cosines it says, whatever the blocks, and no more memory than a block of pairs needs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from training.features.sequences import Sequences
from training.models import item_knn
from training.models.item_knn import ItemKnn


def shop(*, users: int, items: int, length: int) -> Sequences:
    rng = np.random.default_rng(0)
    return Sequences.of([rng.integers(0, items, length).astype(np.int32) for _ in range(users)])


@pytest.mark.parametrize("pairs_per_block", [1, 100, 10**9])
def test_blocks_of_any_size_give_the_shrunk_cosines(pairs_per_block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_knn, "PAIRS_PER_BLOCK", pairs_per_block)
    train = shop(users=40, items=30, length=6)
    found_II = ItemKnn.fit(train, 32, neighbours=32, shrinkage=2.0).similarities_II.toarray()
    seen_UI = np.zeros((40, 32))
    for user, history in enumerate(train):
        seen_UI[user, history] = 1.0
    together_II = seen_UI.T @ (seen_UI / np.sqrt(seen_UI.sum(axis=1, keepdims=True)))
    norms_I = np.sqrt(np.diag(together_II) + 2.0)
    wanted_II = together_II / np.outer(norms_I, norms_I)
    np.fill_diagonal(wanted_II, 0.0)
    np.testing.assert_allclose(found_II, wanted_II, rtol=1e-5, atol=1e-7)


def test_the_pairs_are_never_all_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_knn, "PAIRS_PER_BLOCK", 20_000)
    train = shop(users=300, items=1_000, length=100)
    tracemalloc.start()
    ItemKnn.fit(train, 1_000, neighbours=5, shrinkage=1.0)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 10e6
