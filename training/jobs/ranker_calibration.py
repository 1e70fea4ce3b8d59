"""From logits to probabilities: each head by Platt's method, the order by what helps on held-out choices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from training.jobs.ranker_examples import Examples
from training.jobs.slates import HEADS
from training.models.deep_ranker import CHOICE, Calibration, history_lengths, in_passes, network_logits
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
    logits_NH, lengths_N = network_logits(network, held.inputs), history_lengths(held.inputs)
    calibration = {
        head: platt(logits_NH[:, OUTPUTS.index(head)], held.labels_NH[:, HEADS.index(head)], lengths_N)
        for head in heads
    }
    choice_N = network_logits(network, choices.inputs)[:, OUTPUTS.index(CHOICE)]
    line, said = calibrate_order(choice_N, in_passes(network.hidden, choices.inputs), choices)
    if line.hidden_X.any():
        network.replace_choice(line.choice, line.hidden_X, line.bias)
        line = replace(line, choice=1.0, bias=0.0)
    calibration[CHOICE] = Calibration(slope=line.choice, retrieval=line.retrieval, bias=line.bias)
    return calibration, said


@dataclass(frozen=True, kw_only=True)
class Order:
    """A line through the network's choice logit, retrieval's score and the network's last hidden layer."""

    choice: float
    retrieval: float
    hidden_X: Floats
    bias: float


def calibrate_order(choice_N: Floats, hidden_NX: Floats, choices: Examples) -> tuple[Order, str]:
    """Network and retrieval's score together, where on choices they were not fitted on they order clearly better.

    The choice output is fitted anew from the last hidden layer where that orders better still: the network learnt it
    from choices that the retriever had seen.
    """
    scores_N, taken_N = retrieval_scores(choices), taken(choices)
    few_NX = np.column_stack([choice_N, scores_N])
    many_NX = np.column_stack([few_NX, hidden_NX])
    inputs_NX = max((few_NX, many_NX), key=lambda inputs_NX: _gained(_cross_fitted(inputs_NX, choices), choices))
    better, said = clearly_better(_cross_fitted(inputs_NX, choices), scores_N, choices)
    if not np.ptp(np.column_stack([choice_N, hidden_NX]), axis=0).any():
        better, said = False, "the network tells no candidate from another"
    if not better:
        kept = retrievals_order(scores_N)
        none_X = np.zeros(hidden_NX.shape[1])
        order = Order(choice=0.0, retrieval=kept.retrieval, hidden_X=none_X, bias=kept.bias)
        return order, f"the order is retrieval's own: {said}"
    weights_X, bias = _line(inputs_NX, taken_N, choices.slate_N)
    hidden_X = np.zeros(hidden_NX.shape[1])
    hidden_X[: len(weights_X) - 2] = weights_X[2:]
    order = Order(choice=float(weights_X[0]), retrieval=float(weights_X[1]), hidden_X=hidden_X, bias=bias)
    return order, f"network and retrieval order together: {said}"


def _gained(order_N: Floats, choices: Examples) -> float:
    return float(ndcg_gains(order_N, choices).mean())


def _cross_fitted(inputs_NX: Floats, choices: Examples) -> Floats:
    """The order of each choice by a line fitted on the other half of them."""
    order_N, taken_N = np.zeros(len(inputs_NX)), taken(choices)
    for fitting_N, judging_N in halves(choices):
        weights_X, _ = _line(inputs_NX[fitting_N], taken_N[fitting_N], choices.slate_N[fitting_N])
        order_N[judging_N] = inputs_NX[judging_N] @ weights_X
    return order_N


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
    """NDCG@10 of each choice, its best-placed taken item relevant; ties by item id, as they are served."""
    taken_N, slate_N = taken(choices), choices.slate_N
    best_L = np.full(len(choices), -np.inf)
    np.maximum.at(best_L, slate_N[taken_N], order_N[taken_N])
    above_L = np.bincount(slate_N, weights=order_N > best_L[slate_N], minlength=len(choices))
    rank_L = above_L + _tied_before(np.flatnonzero(order_N == best_L[slate_N]), choices)
    return np.where(rank_L < TOP, 1.0 / np.log2(rank_L + 2), 0.0)


def _tied_before(tied: npt.NDArray[np.int64], choices: Examples) -> Floats:
    """Of the candidates tied with the best-placed taken one of their choice, how many have a smaller item id."""
    ids_N = np.array([item_id for slate in choices.slates for item_id in slate.item_ids])
    slate_N = choices.slate_N
    rows = tied[np.lexsort((ids_N[tied], slate_N[tied]))]
    taken_places = np.flatnonzero(taken(choices)[rows])
    slates, first = np.unique(slate_N[rows][taken_places], return_index=True)
    before_L = np.zeros(len(choices))
    before_L[slates] = taken_places[first] - np.searchsorted(slate_N[rows], slates)
    return before_L


def retrieval_scores(choices: Examples) -> Floats:
    return np.concatenate([one.features_CF[:, 0] for one in choices.inputs]).astype(np.float64)


def taken(choices: Examples) -> Bools:
    taken_N: Bools = choices.labels_NH.max(axis=1)
    return taken_N


def platt(logits_N: Floats, positive_N: Bools, lengths_N: Floats | None = None) -> Calibration:
    """The slope (above 0), weight of the history's length and bias that make probabilities, by maximum likelihood."""
    lengths_N = np.zeros(len(logits_N)) if lengths_N is None else lengths_N
    x_N3, sign_N = np.column_stack([logits_N, lengths_N, np.ones_like(logits_N)]), np.where(positive_N, 1.0, -1.0)

    def loss(weights_3: Floats) -> tuple[float, Floats]:
        margin_N = sign_N * (x_N3 @ weights_3)
        pull_N = -sign_N * expit(-margin_N)
        return float(np.logaddexp(0.0, -margin_N).sum()), x_N3.T @ pull_N

    start, bounds = np.array([1.0, 0.0, 0.0]), [(1e-3, None), (None, None), (None, None)]
    slope, history, bias = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibration(slope=float(slope), history=float(history), bias=float(bias))


def _line(inputs_NX: Floats, taken_N: Bools, slate_N: npt.NDArray[np.int64]) -> tuple[Floats, float]:
    """Weights and bias that tell what was taken."""
    _, places_N = np.unique(slate_N, return_inverse=True)
    fitted = fit_logistic_ranker(
        inputs_NX.astype(np.float32), taken_N, places_N, feature_names=tuple(str(n) for n in range(inputs_NX.shape[1])),
        trained_on="held-out choices",
    )  # fmt: skip
    weights_X = np.asarray(fitted.weights) / np.asarray(fitted.scale)
    return weights_X, fitted.bias - float(weights_X @ np.asarray(fitted.mean))
