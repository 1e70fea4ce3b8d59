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
        """P(action) [C]."""
        z_CF = (features_CF.astype(np.float64) - np.asarray(self.mean)) / np.asarray(self.scale)
        return np.asarray(expit((z_CF * np.asarray(self.weights)).sum(axis=1) + self.bias))

    def save(self, path: Path) -> None:
        write_bytes(path, self.model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, path: Path, *, expect: tuple[str, ...]) -> LogisticRanker:
        """Raises InputError where the file was fitted on other features than this code computes."""
        ranker = cls.model_validate_json(path.read_bytes())
        if ranker.feature_names != expect:
            raise InputError(
                Problem(
                    file=str(path),
                    field="feature_names",
                    problem="fitted on other features than this version computes",
                    found=", ".join(ranker.feature_names),
                    allowed=", ".join(expect),
                )
            )
        return ranker


def fit_logistic_ranker(
    features_NF: npt.NDArray[np.float32],
    labels_N: npt.NDArray[np.bool_],
    *,
    feature_names: tuple[str, ...],
    trained_on: str,
    weights_N: Array | None = None,
    l2: float = 1.0,
) -> LogisticRanker:
    """L2-regularised maximum likelihood by L-BFGS (scipy); a constant feature gets weight 0."""
    x_NF = features_NF.astype(np.float64)
    mean_F, deviation_F = x_NF.mean(axis=0), x_NF.std(axis=0)
    scale_F = np.where(deviation_F > 1e-9, deviation_F, 1.0)
    z_NF = (x_NF - mean_F) / scale_F
    sign_N = np.where(labels_N, 1.0, -1.0)
    weights = np.ones(len(sign_N)) if weights_N is None else weights_N

    def loss(parameters: Array) -> tuple[float, Array]:
        margin_N = sign_N * (z_NF @ parameters[:-1] + parameters[-1])
        pull_N = -sign_N * weights * expit(-margin_N)
        value = float((weights * np.logaddexp(0.0, -margin_N)).sum() + 0.5 * l2 * (parameters[:-1] ** 2).sum())
        return value, np.append(z_NF.T @ pull_N + l2 * parameters[:-1], pull_N.sum())

    solution = minimize(loss, np.zeros(z_NF.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return LogisticRanker(
        feature_names=feature_names,
        mean=tuple(mean_F.tolist()),
        scale=tuple(scale_F.tolist()),
        weights=tuple(solution[:-1].tolist()),
        bias=float(solution[-1]),
        trained_on=trained_on,
    )
