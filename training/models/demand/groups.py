"""Which series are alike, so that a backtest can choose for each kind: told by a series' own history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.features.demand import Floats, Window

NEW, SHORT, INTERMITTENT = "new", "short", "intermittent"
VOLUMES = ("low", "middle", "high")
INTERMITTENT_ZEROS = 0.4
SHORT_PERIODS = 13


@dataclass(frozen=True)
class Grouping:
    """Volume tiers of demand a period; the thresholds split training's series into thirds."""

    thresholds: tuple[float, float]

    @classmethod
    def fit(cls, window: Window) -> Grouping:
        level_S = level(window)
        level_S = level_S[level_S > 0]
        if not len(level_S):
            return cls((0.0, 0.0))
        low, high = np.quantile(level_S, (1 / 3, 2 / 3))
        return cls((float(low), float(high)))

    @property
    def names(self) -> tuple[str, ...]:
        return (*VOLUMES, INTERMITTENT, SHORT, NEW)

    def of(self, window: Window) -> list[str]:
        """The group of each series of a window."""
        known_S = np.isfinite(window.demand_ST).sum(1)
        zeros_S = (window.demand_ST == 0).sum(1) / np.maximum(known_S, 1)
        tier_S = np.searchsorted(self.thresholds, level(window), side="right")
        return [
            NEW if known == 0 else SHORT if known < SHORT_PERIODS else INTERMITTENT if zeros > INTERMITTENT_ZEROS
            else VOLUMES[tier]
            for known, zeros, tier in zip(known_S, zeros_S, tier_S, strict=True)
        ]  # fmt: skip


def level(window: Window, periods: int = 52) -> Floats:
    """level_S: mean absolute demand of the last periods that are known, 0 where none is."""
    recent_ST = np.abs(window.demand_ST[:, -periods:])
    known_ST = np.isfinite(recent_ST)
    return np.where(known_ST, recent_ST, 0.0).sum(1) / np.maximum(known_ST.sum(1), 1)


def rows_of(groups: Sequence[str]) -> dict[str, np.ndarray]:
    """The rows of each group that occurs."""
    names = np.array(groups, dtype=object)
    return {name: np.flatnonzero(names == name) for name in dict.fromkeys(groups)}
