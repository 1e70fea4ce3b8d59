"""From logits to probabilities: each head by Platt's method, the order by what helps on held-out choices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from training.jobs.ranker_examples import Examples
from training.jobs.slates import HEADS
from training.models.deep_ranker import CHOICE, Calibration, network_logits
from training.models.logistic_ranker import fit_logistic_ranker
from training.models.ranker_network import OUTPUTS, RankerNetwork

TOP = 10
MARGIN_ERRORS = 2.0
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def calibrate(
    network: RankerNetwork, heads: Sequence[str], held: Examples, choices: Examples
) -> tuple[dict[str, Calibration], str]:
    """The calibration of each head on held-out slates and of the order on held-out choices, and what was decided."""
    logits_NH = network_logits(network, held.inputs)
    calibration = {
        head: platt(logits_NH[:, OUTPUTS.index(head)], held.labels_NH[:, HEADS.index(head)]) for head in heads
    }
    choice_N = network_logits(network, choices.inputs)[:, OUTPUTS.index(CHOICE)]
    calibration[CHOICE], said = calibrate_order(choice_N, choices)
    return calibration, said


def calibrate_order(choice_N: Floats, choices: Examples) -> tuple[Calibration, str]:
    """Network and retrieval's score together, where on choices they were not fitted on they order clearly better."""
    scores_N, taken_N, order_N = retrieval_scores(choices), taken(choices), np.zeros(len(choice_N))
    inputs_N2 = np.column_stack([choice_N, scores_N])
    for fitting_N, judging_N in halves(choices):
        fitted = _fused(inputs_N2[fitting_N], taken_N[fitting_N], choices.slate_N[fitting_N])
        order_N[judging_N] = inputs_N2[judging_N] @ [fitted.slope, fitted.retrieval]
    better, said = clearly_better(order_N, scores_N, choices)
    if better:
        return _fused(inputs_N2, taken_N, choices.slate_N), f"network and retrieval order together: {said}"
    return retrievals_order(scores_N), f"the order is retrieval's own: {said}"


def retrievals_order(scores_N: Floats) -> Calibration:
    """The scores brought to unit spread first: a sigmoid of large ones is 1 for all of them, and 1 is no order."""
    scale = 1.0 / max(float(scores_N.std()), 1e-6)
    return Calibration(slope=0.0, retrieval=scale, bias=-scale * float(scores_N.mean()))


def halves(choices: Examples) -> Iterator[tuple[Bools, Bools]]:
    """Every other choice to fit on, and those between to judge by; then the other way round. None for one choice."""
    odd_N = choices.slate_N % 2 == 1
    if len(choices) > 1:
        yield odd_N, ~odd_N
        yield ~odd_N, odd_N


def clearly_better(order_N: Floats, retrieval_N: Floats, choices: Examples) -> tuple[bool, str]:
    """Whether an order's NDCG@10 is above retrieval's by MARGIN_ERRORS standard errors of the paired difference."""
    margin_L = ndcg_gains(order_N, choices) - ndcg_gains(retrieval_N, choices)
    if len(margin_L) < 2:
        return False, "one held-out choice tells nothing"
    mean, error = float(margin_L.mean()), float(margin_L.std(ddof=1)) / len(margin_L) ** 0.5
    said = f"NDCG@{TOP} {mean:+.4f} (standard error {error:.4f}) beside retrieval alone on {len(margin_L)} choices"
    return mean > MARGIN_ERRORS * error, said


def ndcg_gains(order_N: Floats, choices: Examples) -> Floats:
    """NDCG@10 of each choice, one item relevant."""
    taken_N, slate_N = taken(choices), choices.slate_N
    _, first_N = np.unique(slate_N[taken_N], return_index=True)
    target_L = order_N[taken_N][first_N]
    rank_L = np.bincount(slate_N, weights=order_N > target_L[slate_N], minlength=len(choices))
    return np.where(rank_L < TOP, 1.0 / np.log2(rank_L + 2), 0.0)


def retrieval_scores(choices: Examples) -> Floats:
    return np.concatenate([one.features_CF[:, 0] for one in choices.inputs]).astype(np.float64)


def taken(choices: Examples) -> Bools:
    taken_N: Bools = choices.labels_NH.max(axis=1)
    return taken_N


def platt(logits_N: Floats, positive_N: Bools) -> Calibration:
    """The slope (above 0) and bias that make logits probabilities, by maximum likelihood (Platt 1999)."""
    x_N2, sign_N = np.column_stack([logits_N, np.ones_like(logits_N)]), np.where(positive_N, 1.0, -1.0)

    def loss(weights_2: Floats) -> tuple[float, Floats]:
        margin_N = sign_N * (x_N2 @ weights_2)
        pull_N = -sign_N * expit(-margin_N)
        return float(np.logaddexp(0.0, -margin_N).sum()), x_N2.T @ pull_N

    start, bounds = np.array([1.0, 0.0]), [(1e-3, None), (None, None)]
    slope, bias = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibration(slope=float(slope), bias=float(bias))


def _fused(inputs_N2: Floats, taken_N: Bools, slate_N: npt.NDArray[np.int64]) -> Calibration:
    _, places_N = np.unique(slate_N, return_inverse=True)
    both = fit_logistic_ranker(
        inputs_N2.astype(np.float32), taken_N, places_N, feature_names=("network", "retrieval"),
        trained_on="held-out choices",
    )  # fmt: skip
    slope, retrieval = (weight / scale for weight, scale in zip(both.weights, both.scale, strict=True))
    shift = slope * both.mean[0] + retrieval * both.mean[1]
    return Calibration(slope=slope, retrieval=retrieval, bias=both.bias - shift)
