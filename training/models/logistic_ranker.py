"""Logistic regression on the ranking features: P(action) of each candidate, independent of its batch-mates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from scipy.optimize import minimize
from scipy.special import expit

from training.contracts.atomic import write_bytes
from training.contracts.errors import InputError, Problem

Array = npt.NDArray[np.float64]


class LogisticRanker(BaseModel):
    """Standardised linear logit over named features; saved as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    feature_names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    trained_on: str

    def predict(self, features_CF: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """P(action) [C]; of more features than it was fitted on, the first ones count."""
        known_CF = features_CF[:, : len(self.feature_names)].astype(np.float64)
        z_CF = (known_CF - np.asarray(self.mean)) / np.asarray(self.scale)
        return np.asarray(expit((z_CF * np.asarray(self.weights)).sum(axis=1) + self.bias))

    def save(self, path: Path) -> None:
        write_bytes(path, self.model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, path: Path, *, expect: tuple[str, ...]) -> LogisticRanker:
        """Raises InputError where the file was fitted on others than the first features that this code computes."""
        ranker = cls.model_validate_json(path.read_bytes())
        ranker.refuse_other_features(expect, place=path)
        return ranker

    def refuse_other_features(self, expect: tuple[str, ...], *, place: Path) -> None:
        """Raise InputError, with the difference, where the ranker's features are not the first ones of `expect`."""
        if self.feature_names == expect[: len(self.feature_names)]:
            return
        only_here = [name for name in self.feature_names if name not in expect]
        raise InputError(
            Problem(
                file=str(place),
                field="feature_names",
                problem="fitted on other features than this version computes"
                + (f": {', '.join(only_here)}" if only_here else ""),
                found=", ".join(self.feature_names),
                allowed=", ".join(expect),
            )
        )


def fit_logistic_ranker(
    features_NF: npt.NDArray[np.float32],
    chosen_N: npt.NDArray[np.bool_],
    choice_N: npt.NDArray[np.int64],
    *,
    feature_names: tuple[str, ...],
    trained_on: str,
    l2: float = 1.0,
) -> LogisticRanker:
    """Weights by conditional logistic regression, then one scale and bias that make the logit a probability.

    `choice_N` numbers the choices from 0 in rising order; a row competes only with those of its choice, so that what
    differs between users but not between candidates cannot pull a weight (McFadden 1974, Platt 1999). A feature that
    never differs gets weight 0.
    """
    x_NF = features_NF.astype(np.float64)
    mean_F, deviation_F = x_NF.mean(axis=0), x_NF.std(axis=0)
    scale_F = np.where(deviation_F > 1e-9, deviation_F, 1.0)
    z_NF = (x_NF - mean_F) / scale_F
    weights_F = _conditional_weights(z_NF, chosen_N, choice_N, l2)
    slope, bias = _calibration(z_NF @ weights_F, chosen_N)
    return LogisticRanker(
        feature_names=feature_names,
        mean=tuple(mean_F.tolist()),
        scale=tuple(scale_F.tolist()),
        weights=tuple((slope * weights_F).tolist()),
        bias=bias,
        trained_on=trained_on,
    )


def _conditional_weights(
    z_NF: Array, chosen_N: npt.NDArray[np.bool_], choice_N: npt.NDArray[np.int64], l2: float
) -> Array:
    """argmax of sum over the chosen of log softmax within their choice, less l2 |w|^2 / 2."""
    starts_G = np.flatnonzero(np.r_[True, choice_N[1:] != choice_N[:-1]])
    chosen_G = np.add.reduceat(chosen_N.astype(np.float64), starts_G)

    def loss(weights_F: Array) -> tuple[float, Array]:
        logits_N = z_NF @ weights_F
        top_G = np.maximum.reduceat(logits_N, starts_G)
        exp_N = np.exp(logits_N - top_G[choice_N])
        total_G = np.add.reduceat(exp_N, starts_G)
        value = (chosen_G * (np.log(total_G) + top_G)).sum() - logits_N[chosen_N].sum()
        expected_N = exp_N * (chosen_G / total_G)[choice_N]
        gradient_F = z_NF.T @ (expected_N - chosen_N) + l2 * weights_F
        return float(value + 0.5 * l2 * (weights_F**2).sum()), gradient_F

    return np.asarray(minimize(loss, np.zeros(z_NF.shape[1]), jac=True, method="L-BFGS-B").x)


def _calibration(logits_N: Array, chosen_N: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Slope (kept positive, so that the order stays) and bias of P(chosen | logit), by maximum likelihood."""
    sign_N = np.where(chosen_N, 1.0, -1.0)

    def loss(parameters: Array) -> tuple[float, Array]:
        margin_N = sign_N * (logits_N * parameters[0] + parameters[1])
        pull_N = -sign_N * expit(-margin_N)
        return float(np.logaddexp(0.0, -margin_N).sum()), np.array([pull_N @ logits_N, pull_N.sum()])

    rate = float(np.clip(chosen_N.mean(), 1e-6, 1 - 1e-6))
    start = np.array([1.0, np.log(rate / (1 - rate))])
    slope, bias = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(1e-3, None), (None, None)]).x
    return float(slope), float(bias)
