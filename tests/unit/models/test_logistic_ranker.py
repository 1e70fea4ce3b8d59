"""The logistic ranker recovers what made the labels, and refuses another version's features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.contracts.errors import InputError
from training.models.logistic_ranker import LogisticRanker, fit_logistic_ranker

NAMES = ("a", "b", "constant")
TRUE_WEIGHTS = np.asarray([2.0, -1.0, 0.0])


CHOICES, CANDIDATES = 3_000, 10


@pytest.fixture(scope="module")
def features_NF() -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = CHOICES * CANDIDATES
    return np.column_stack([rng.normal(5, 2, rows), rng.normal(0, 1, rows), np.ones(rows)]).astype(np.float32)


@pytest.fixture(scope="module")
def chosen_N(features_NF: np.ndarray) -> np.ndarray:
    """One candidate per choice, drawn by the softmax of the true utilities (Gumbel maximum)."""
    utility_GC = (features_NF @ TRUE_WEIGHTS).reshape(CHOICES, CANDIDATES)
    noisy_GC = utility_GC + np.random.default_rng(1).gumbel(size=utility_GC.shape)
    return (np.arange(CANDIDATES) == noisy_GC.argmax(axis=1)[:, None]).ravel()


@pytest.fixture(scope="module")
def ranker(features_NF: np.ndarray, chosen_N: np.ndarray) -> LogisticRanker:
    choice_N = np.repeat(np.arange(CHOICES), CANDIDATES)
    return fit_logistic_ranker(features_NF, chosen_N, choice_N, feature_names=NAMES, trained_on="a test")


def test_it_recovers_the_weights_up_to_scale(ranker: LogisticRanker) -> None:
    recovered = np.asarray(ranker.weights) / np.asarray(ranker.scale)
    assert recovered / recovered[0] * TRUE_WEIGHTS[0] == pytest.approx(TRUE_WEIGHTS, abs=0.1)


def test_what_is_the_same_for_all_candidates_pulls_no_weight(features_NF: np.ndarray, chosen_N: np.ndarray) -> None:
    """A user-level feature that correlates with the number of candidates must not matter."""
    choice_N = np.repeat(np.arange(CHOICES), CANDIDATES)
    features = features_NF.copy()
    features[:, 2] = np.random.default_rng(2).normal(size=CHOICES)[choice_N]
    ranker = fit_logistic_ranker(features, chosen_N, choice_N, feature_names=NAMES, trained_on="a test")
    assert abs(ranker.weights[2]) < 1e-6 < abs(ranker.weights[1])


def test_its_probabilities_are_calibrated(
    ranker: LogisticRanker, features_NF: np.ndarray, chosen_N: np.ndarray
) -> None:
    probability_N = ranker.predict(features_NF)
    assert probability_N.mean() == pytest.approx(chosen_N.mean(), rel=0.01)
    for part in np.array_split(np.argsort(probability_N), 5):
        assert probability_N[part].mean() == pytest.approx(chosen_N[part].mean(), abs=0.03)


def test_a_score_does_not_depend_on_its_batch(ranker: LogisticRanker, features_NF: np.ndarray) -> None:
    together = ranker.predict(features_NF[:100])
    alone = [ranker.predict(features_NF[index : index + 1])[0] for index in range(100)]
    assert (together == alone).all()


def test_it_survives_its_file(ranker: LogisticRanker, tmp_path: Path) -> None:
    ranker.save(tmp_path / "ranking.json")
    assert LogisticRanker.load(tmp_path / "ranking.json", expect=NAMES) == ranker


def test_other_features_are_refused(ranker: LogisticRanker, tmp_path: Path) -> None:
    ranker.save(tmp_path / "ranking.json")
    with pytest.raises(InputError, match="feature_names"):
        LogisticRanker.load(tmp_path / "ranking.json", expect=("a", "b", "c"))
