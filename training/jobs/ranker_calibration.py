"""What turns a ranker network's logits into probabilities, and fuses retrieval's score into the order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from training.jobs.ranker_data import RankerData
from training.jobs.ranker_examples import Examples
from training.jobs.ranker_judging import choice_gains
from training.jobs.ranker_training import Kind
from training.jobs.slates import HEADS
from training.models.deep_ranker import CHOICE, READS, Calibration, DeepRanker, RankerSettings, network_logits
from training.models.logistic_ranker import fit_logistic_ranker
from training.models.ranker_network import OUTPUTS, NetworkConfig, RankerNetwork

CLEAR_MARGIN = 2.0
"""Standard errors by which the fused order must beat retrieval's to replace it."""
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def calibrated(network: RankerNetwork, kind: Kind, sizes: NetworkConfig, data: RankerData) -> DeepRanker:
    """Each head by Platt's method on validation slates; `choice` with retrieval's score on held-out choices."""
    held = data.slates["validation"]
    logits_NH = network_logits(network, held.inputs)
    calibration = {
        head: platt(logits_NH[:, OUTPUTS.index(head)], held.labels_NH[:, HEADS.index(head)]) for head in data.heads
    }
    calibration[CHOICE] = _fused_with_retrieval(network, data.choices["validation"])
    settings = RankerSettings(
        kind=kind, network=sizes, sizes=data.state.sizes(),
        reads={name: tuple(columns) for name, columns in READS.items()}, calibration=calibration,
    )  # fmt: skip
    return DeepRanker(network, settings)


def _fused_with_retrieval(network: RankerNetwork, choices: Examples) -> Calibration:
    """How much the network and retrieval's score count in the order; retrieval's alone without a clear gain."""
    choice_N = network_logits(network, choices.inputs)[:, OUTPUTS.index(CHOICE)]
    scores_N = retrieval_scores(choices)
    both = fit_logistic_ranker(
        np.column_stack([choice_N, scores_N]).astype(np.float32), taken_of(choices), choices.slate_N,
        feature_names=("network", "retrieval"), trained_on="held-out choices",
    )  # fmt: skip
    slope, retrieval = (weight / scale for weight, scale in zip(both.weights, both.scale, strict=True))
    shift = sum(weight * mean / scale for weight, mean, scale in zip(both.weights, both.mean, both.scale, strict=True))
    gained_L = choice_gains(slope * choice_N + retrieval * scores_N, choices) - choice_gains(scores_N, choices)
    error = float(gained_L.std(ddof=1)) / len(gained_L) ** 0.5 if len(gained_L) > 1 else np.inf
    if slope <= 0 or float(gained_L.mean()) < CLEAR_MARGIN * error:
        return _retrievals_order(scores_N)
    return Calibration(slope=slope, retrieval=retrieval, bias=both.bias - shift)


def _retrievals_order(scores_N: Floats) -> Calibration:
    """The scores brought to unit spread first: a sigmoid of large ones is 1 for all of them, and 1 is no order."""
    scale = 1.0 / max(float(scores_N.std()), 1e-6)
    return Calibration(slope=0.0, retrieval=scale, bias=-scale * float(scores_N.mean()))


def keeps_retrievals_order(ranker: DeepRanker) -> bool:
    return ranker.settings.calibration[CHOICE].slope == 0.0


def retrieval_scores(examples: Examples) -> Floats:
    return np.concatenate([one.features_CF[:, 0] for one in examples.inputs]).astype(np.float64)


def taken_of(choices: Examples) -> Bools:
    taken_N: Bools = choices.labels_NH.max(axis=1)
    return taken_N


def platt(logits_N: Floats, positive_N: Bools) -> Calibration:
    """Slope (above 0) and bias that make the logits probabilities, by maximum likelihood (Platt 1999)."""
    x_NX, sign_N = np.column_stack([logits_N, np.ones_like(logits_N)]), np.where(positive_N, 1.0, -1.0)

    def loss(weights_X: Floats) -> tuple[float, Floats]:
        margin_N = sign_N * (x_NX @ weights_X)
        pull_N = -sign_N * expit(-margin_N)
        return float(np.logaddexp(0.0, -margin_N).sum()), x_NX.T @ pull_N

    start = np.array([1.0, 0.0])
    slope, bias = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(1e-3, None), (None, None)]).x
    return Calibration(slope=float(slope), bias=float(bias))
