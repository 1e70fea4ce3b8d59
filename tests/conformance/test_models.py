"""What every retriever of the registry must keep, whatever is inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from training.features.sequences import Sequences
from training.features.vocabulary import Codes
from training.models.item_knn import ItemKnn
from training.models.matrix_factorisation import MatrixFactorisation
from training.models.popularity import Popularity
from training.models.retriever import RETRIEVERS, Retriever, load_retriever, retriever_class
from training.models.sequence_transformer import SequenceTransformer, Tower, TransformerConfig

ITEMS = 40
TOLERANCE = 1e-5
KINDS = sorted(RETRIEVERS)


def codes(*values: int) -> Codes:
    return np.array(values, np.int32)


def some_histories(users: int = 60) -> list[Codes]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, ITEMS, rng.integers(1, 9)).astype(np.int32) for _ in range(users)]


def fitted(kind: str, train: Sequences) -> Retriever:
    if kind == "sequence_transformer":
        torch.manual_seed(0)
        tower = Tower(ITEMS, TransformerConfig(dim=16, max_len=6), repeats=True)
        assert tower.repetition is not None
        torch.nn.init.normal_(tower.repetition.by_age.weight)
        return SequenceTransformer(tower)
    if kind == "item_knn":
        return ItemKnn.fit(train, ITEMS, neighbours=10, shrinkage=1.0).with_decay(0.8)
    if kind == "matrix_factorisation":
        return MatrixFactorisation.fit(
            train, ITEMS, factors=8, iterations=3, alpha=0.1, regularisation=0.01, seed=0
        ).with_decay(0.8)
    assert kind == "popularity", f"say here how {kind} is fitted"
    return Popularity.fit(train, ITEMS)


def check_model(retriever: Retriever, histories: list[Codes], folder: Path) -> None:
    """The conformance of one fitted retriever."""
    scores = retriever.score(histories)
    assert scores.shape == (len(histories), retriever.items)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    for row in (0, len(histories) - 1):
        assert np.allclose(retriever.score([histories[row]])[0], scores[row], atol=TOLERANCE)
    best, best_scores = retriever.search(histories, 5)
    for row in range(len(histories)):
        expected = np.lexsort((np.arange(retriever.items), -scores[row]))[:5]
        assert best[row].tolist() == expected.tolist()
        assert np.array_equal(best_scores[row], scores[row][expected])
    near, _ = retriever.similar(3, 5)
    assert 3 not in near
    retriever.save(folder)
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    loaded = load_retriever(folder)
    assert type(loaded) is type(retriever)
    assert np.allclose(loaded.score(histories), scores, atol=TOLERANCE)
    assert np.array_equal(loaded.similar(3, 5)[0], near)


@pytest.mark.parametrize("kind", KINDS)
def test_check_model(kind: str, tmp_path: Path) -> None:
    histories = some_histories()
    check_model(fitted(kind, Sequences.of(histories)), [codes(), *histories], tmp_path / "model")


@pytest.mark.parametrize("kind", KINDS)
def test_one_interaction_is_enough(kind: str, tmp_path: Path) -> None:
    check_model(fitted(kind, Sequences.of([codes(7)])), [codes(7), codes(), codes(1, 2)], tmp_path / "model")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_allowed_scores_minus_infinity(kind: str) -> None:
    retriever = fitted(kind, Sequences.of(some_histories()))
    allowed = np.zeros((1, ITEMS), np.bool_)
    allowed[0, [5, 9]] = True
    best, scores = retriever.search([codes(1, 2)], 4, allowed)
    assert set(best[0, :2].tolist()) == {5, 9}
    assert np.isneginf(scores[0, 2:]).all()
    near, scores_K = retriever.similar(5, 2, allowed[0])
    assert near[0] == 9
    assert np.isneginf(scores_K[1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_is_the_name_in_the_registry(kind: str) -> None:
    assert retriever_class(kind).kind == kind
