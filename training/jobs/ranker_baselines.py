"""Logistic regression as the ranker's baseline, and as what serves where the networks fail."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.features.ranking import BASE_FEATURES
from training.jobs.ranker_calibration import clearly_better, halves, platt, retrieval_scores, taken
from training.jobs.ranker_data import RankerData
from training.jobs.ranker_examples import Examples
from training.jobs.slates import HEADS
from training.models.feature_ranker import FeatureRanker
from training.models.logistic_ranker import LogisticRanker, fit_logistic_ranker

Floats = npt.NDArray[np.float32]


def fit_baseline(data: RankerData) -> tuple[FeatureRanker, str]:
    """The main head on the training slates, calibrated as the networks are; the order on held-out choices, and why."""
    order, said = fit_order(data.choices["validation"])
    return FeatureRanker(order, {data.heads[0]: _fit_head(data)}), said


def _fit_head(data: RankerData) -> LogisticRanker:
    """Under the networks' terms: what tells of a slate's outcome is kept from it, so retrieval's score weighs 0."""
    train, held, column = data.slates["train"], data.slates["validation"], HEADS.index(data.heads[0])
    fitted = fit_logistic_ranker(
        _without_retrieval(_features(train)), train.labels_NH[:, column], train.slate_N,
        feature_names=BASE_FEATURES, trained_on="slates",
    )  # fmt: skip
    probability_N = fitted.predict(_features(held))
    calibration = platt(np.log(probability_N) - np.log1p(-probability_N), held.labels_NH[:, column])
    weights = tuple(calibration.slope * weight for weight in fitted.weights)
    bias = calibration.slope * fitted.bias + calibration.bias
    return fitted.model_copy(update={"weights": weights, "bias": bias})


def fit_order(choices: Examples) -> tuple[LogisticRanker, str]:
    """Orders by all base features where that is clearly better than retrieval on choices it was not fitted on."""
    scores_N, order_N = retrieval_scores(choices), np.zeros(len(choices.slate_N))
    for fitting_N, judging_N in halves(choices):
        order_N[judging_N] = _fitted(choices, fitting_N).predict(_features(choices)[judging_N])
    better, said = clearly_better(order_N, scores_N, choices)
    if better:
        return _fitted(choices, np.ones(len(scores_N), np.bool_)), f"the features order together: {said}"
    alone = platt(scores_N, taken(choices))
    return LogisticRanker(
        feature_names=BASE_FEATURES[:1], mean=(0.0,), scale=(1.0,), weights=(alone.slope,), bias=alone.bias,
        trained_on="held-out choices",
    ), f"the order is retrieval's own: {said}"  # fmt: skip


def _fitted(choices: Examples, rows_N: npt.NDArray[np.bool_]) -> LogisticRanker:
    _, places_N = np.unique(choices.slate_N[rows_N], return_inverse=True)
    return fit_logistic_ranker(
        _features(choices)[rows_N], taken(choices)[rows_N], places_N, feature_names=BASE_FEATURES,
        trained_on="held-out choices",
    )  # fmt: skip


def _features(examples: Examples) -> Floats:
    return np.concatenate([one.features_CF for one in examples.inputs])[:, : len(BASE_FEATURES)]


def _without_retrieval(features_NF: Floats) -> Floats:
    base_NF = features_NF[:, : len(BASE_FEATURES)].copy()
    base_NF[:, 0] = 0.0
    return base_NF
