"""Prediction intervals from what the backtest missed by: split conformal, by group of series and step ahead.

Vovk et al. 2005; the score is the signed error over the series' own scale, so that quantiles need not be symmetric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.features.demand import Floats, Window

LEVELS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99)
LEAST_ERRORS = 200
ALL = "all"


@dataclass(frozen=True)
class Intervals:
    """scores[group] is [buckets, LEVELS]: quantiles of error over scale; steps ahead fall into equal buckets."""

    horizon: int
    scores: Mapping[str, Floats]

    @classmethod
    def fit(cls, horizon: int, groups: Sequence[str], scaled_NH: Floats, *, buckets: int = 4) -> Intervals:
        """From scaled errors of backtested series (a row a series and origin, its group beside it; nan: not observed).

        A group or bucket with too few errors takes those of all.
        """
        of_step_H = bucket_of(horizon, buckets)
        names, rows = np.array(groups, dtype=object), {ALL: np.arange(len(groups))}
        rows |= {name: np.flatnonzero(names == name) for name in dict.fromkeys(groups)}
        scores: dict[str, Floats] = {}
        for name, places in rows.items():
            table = np.zeros((buckets, len(LEVELS)))
            for bucket in range(buckets):
                errors = scaled_NH[places][:, of_step_H == bucket]
                errors = errors[np.isfinite(errors)]
                if len(errors) >= LEAST_ERRORS or (name == ALL and len(errors)):
                    table[bucket] = np.quantile(errors, LEVELS)
                elif name != ALL:
                    table[bucket] = scores[ALL][bucket]
                elif bucket:
                    table[bucket] = table[bucket - 1]
            scores[name] = table
        return cls(horizon, scores)

    def quantiles(self, mean_SH: Floats, scale_SH: Floats, groups: Sequence[str], levels: Sequence[float]) -> Floats:
        """values_SQH at `levels`, rising with the level."""
        buckets = len(next(iter(self.scores.values())))
        of_step_H = bucket_of(self.horizon, buckets)[: mean_SH.shape[1]]
        known = {name: self._at(name, levels) for name in set(groups)}
        if not len(groups):
            return np.zeros((0, len(levels), mean_SH.shape[1]))
        score_SQH = np.stack([known[name][:, of_step_H] for name in groups])
        return np.maximum.accumulate(mean_SH[:, None] + score_SQH * scale_SH[:, None], axis=1)

    def _at(self, group: str, levels: Sequence[float]) -> Floats:
        """score_QB of a group, between the known levels by interpolation."""
        table = self.scores.get(group, self.scores[ALL])
        return np.stack([np.interp(levels, LEVELS, row) for row in table], axis=1)


def bucket_of(horizon: int, buckets: int) -> np.ndarray:
    """The bucket of each step ahead, [H]."""
    return np.arange(horizon) * buckets // max(horizon, 1)


def error_scale(window: Window, mean_SH: Floats, share: float = 0.1) -> Floats:
    """scale_SH, above 0: the series' own one-step naive error of the last year and a share of the forecast itself."""
    recent_ST = window.demand_ST[:, -53:]
    steps_ST = np.abs(np.diff(recent_ST, axis=1))
    known_ST = np.isfinite(steps_ST)
    naive_S = np.where(known_ST, steps_ST, 0.0).sum(1) / np.maximum(known_ST.sum(1), 1)
    return naive_S[:, None] + share * np.abs(mean_SH) + 1e-9
