"""Which series are alike, so that a backtest can choose for each kind: told by a series' own history alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.features.demand import Floats, Window, gap_filled

NEW, SHORT, INTERMITTENT = "new", "short", "intermittent"
KINDS = ("walking", "seasonal", "level")
"""By the rule that would have said a series' own past best: the last value, the last season, the usual level."""
INTERMITTENT_ZEROS, SHORT_PERIODS, LEVEL_PERIODS, LEAST_COMPARED = 0.4, 13, 26, 8


@dataclass(frozen=True)
class Grouping:
    """`lag`: how many periods ahead the rules are compared."""

    lag: int

    @classmethod
    def of_horizon(cls, horizon: int) -> Grouping:
        return cls(max(1, (horizon + 1) // 2))

    @property
    def names(self) -> tuple[str, ...]:
        return (*KINDS, INTERMITTENT, SHORT, NEW)

    def of(self, window: Window) -> list[str]:
        """The group of each series of a window."""
        known_S = np.isfinite(window.demand_ST).sum(1)
        zeros_S = (window.demand_ST == 0).sum(1) / np.maximum(known_S, 1)
        kind_S = self._kinds(window)
        return [
            NEW if known == 0 else SHORT if known < SHORT_PERIODS else INTERMITTENT if zeros > INTERMITTENT_ZEROS
            else KINDS[kind]
            for known, zeros, kind in zip(known_S, zeros_S, kind_S, strict=True)
        ]  # fmt: skip

    def _kinds(self, window: Window) -> np.ndarray:
        """The place in KINDS of each series."""
        demand_ST, season = gap_filled(window.demand_ST), window.frequency.season
        errors = np.stack([
            _mean_error(demand_ST, _shifted(demand_ST, self.lag)),
            _mean_error(demand_ST, _shifted(demand_ST, season * -(-self.lag // season)))
            if season > 1 else np.full(len(window), np.inf),
            _mean_error(demand_ST, _shifted(_rolling_mean(demand_ST, LEVEL_PERIODS), self.lag)),
        ])  # fmt: skip
        errors[:, ~np.isfinite(errors).any(0)] = 0.0
        return np.asarray(errors.argmin(0))


def _shifted(values_ST: Floats, periods: int) -> Floats:
    out_ST = np.full_like(values_ST, np.nan)
    if periods < values_ST.shape[1]:
        out_ST[:, periods:] = values_ST[:, :-periods]
    return out_ST


def _rolling_mean(values_ST: Floats, periods: int) -> Floats:
    """Of the last periods that are known, as soon as half of them are."""
    known = np.isfinite(values_ST)
    total = np.cumsum(np.where(known, values_ST, 0.0), axis=1)
    count = np.cumsum(known, axis=1).astype(float)
    if periods < values_ST.shape[1]:
        total[:, periods:] -= total[:, :-periods].copy()
        count[:, periods:] -= count[:, :-periods].copy()
    return np.where(count >= periods / 2, total / np.maximum(count, 1), np.nan)


def _mean_error(values_ST: Floats, said_ST: Floats) -> Floats:
    """error_S where both are known often enough, else infinite."""
    errors = np.abs(values_ST - said_ST)
    known = np.isfinite(errors)
    count = known.sum(1)
    mean = np.where(known, errors, 0.0).sum(1) / np.maximum(count, 1)
    return np.where(count >= LEAST_COMPARED, mean, np.inf)


def rows_of(groups: Sequence[str]) -> dict[str, np.ndarray]:
    """The rows of each group that occurs."""
    names = np.array(groups, dtype=object)
    return {name: np.flatnonzero(names == name) for name in dict.fromkeys(groups)}
