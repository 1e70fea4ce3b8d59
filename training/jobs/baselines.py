"""The recommender's honest baselines: fitted on the training part, their settings chosen on validation alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from training.contracts.progress import Progress
from training.features.sequences import Cases, Split
from training.jobs.evaluation import selection_score
from training.models.item_knn import ItemKnn
from training.models.matrix_factorisation import MatrixFactorisation
from training.models.popularity import Popularity
from training.models.retriever import Retriever

TUNING_CASES = 2048
KNN_SHRINKAGES = (1.0, 10.0, 30.0)
KNN_DECAYS = (1.0, 0.8, 0.5)
MF_SETTINGS = ((0.02, 0.003), (0.05, 0.003), (0.2, 0.001))  # (weight of the unseen, regularisation)
MF_DECAYS = (1.0, 0.8, 0.5)

Fitted = tuple[Retriever, float]


def fit_baselines(split: Split, items: int, *, repeats: bool, seed: int, progress: Progress) -> dict[str, Retriever]:
    """popularity, item_knn and matrix_factorisation, in the order of their names' simplicity."""
    cases = sample(split.validation, TUNING_CASES)

    def judged(retriever: Retriever) -> Fitted:
        progress.advance()
        return retriever, selection_score(retriever.score, cases, items, repeats=repeats)

    progress.stage("baselines", len(KNN_SHRINKAGES) * len(KNN_DECAYS) + len(MF_SETTINGS) * len(MF_DECAYS))
    return {
        "popularity": Popularity.fit(split.train, items),
        "item_knn": _best(_knn_trials(split, items), judged),
        "matrix_factorisation": _best(_mf_trials(split, items, seed), judged),
    }


def sample(cases: Cases, count: int) -> Cases:
    """At most `count` of the cases, always the same ones."""
    rows = np.random.default_rng(0).permutation(len(cases))[:count]
    return cases.take(np.sort(rows))


def _best(trials: Iterable[Retriever], judged: Callable[[Retriever], Fitted]) -> Retriever:
    """The first of the best."""
    return max(map(judged, trials), key=lambda fitted: fitted[1])[0]


def _knn_trials(split: Split, items: int) -> Iterable[Retriever]:
    for shrinkage in KNN_SHRINKAGES:
        fitted = ItemKnn.fit(split.train, items, neighbours=200, shrinkage=shrinkage)
        yield from (fitted.with_decay(decay) for decay in KNN_DECAYS)


def _mf_trials(split: Split, items: int, seed: int) -> Iterable[Retriever]:
    for alpha, regularisation in MF_SETTINGS:
        fitted = MatrixFactorisation.fit(
            split.train, items, factors=64, iterations=8, alpha=alpha, regularisation=regularisation, seed=seed
        )
        yield from (fitted.with_decay(decay) for decay in MF_DECAYS)
