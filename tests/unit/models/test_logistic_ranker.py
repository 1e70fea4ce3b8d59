"""The logistic ranker recovers what made the labels, and refuses another version's features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from training.contracts.errors import InputError
from training.models.logistic_ranker import LogisticRanker, fit_logistic_ranker

NAMES = ("a", "b", "constant")
TRUE_WEIGHTS = np.asarray([2.0, -1.0, 0.0])


@pytest.fixture(scope="module")
def features_NF() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.column_stack([rng.normal(5, 2, 20_000), rng.normal(0, 1, 20_000), np.ones(20_000)]).astype(np.float32)


@pytest.fixture(scope="module")
def ranker(features_NF: np.ndarray) -> LogisticRanker:
    truth_N = expit((features_NF - [5, 0, 0]) @ TRUE_WEIGHTS)
    labels_N = np.random.default_rng(1).random(len(truth_N)) < truth_N
    return fit_logistic_ranker(features_NF, labels_N, feature_names=NAMES, trained_on="a test")


def test_it_recovers_the_weights(ranker: LogisticRanker) -> None:
    recovered = np.asarray(ranker.weights) / np.asarray(ranker.scale)
    assert recovered == pytest.approx(TRUE_WEIGHTS, abs=0.1)


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
