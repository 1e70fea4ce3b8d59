"""A level for series without history, from what they are: item, location and static names that others share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.features.demand import Floats, SeriesTable, Window
from training.features.demand_features import demand_level

PRIOR_SERIES, ROUNDS = 3.0, 4
RECENT_PERIODS = 26


@dataclass(frozen=True)
class ColdStart:
    """log level = usual + effect of each name; names that few series share say little (backfitting with a prior)."""

    usual: float
    effects: Mapping[str, Mapping[str, float]]

    @classmethod
    def fit(cls, window: Window) -> ColdStart:
        """From the recent level of every series with history."""
        known_S = np.isfinite(window.demand_ST[:, -RECENT_PERIODS:]).any(1)
        rows = np.flatnonzero(known_S)
        if not len(rows):
            return cls(-np.inf, {})
        log_R = np.log(demand_level(window, RECENT_PERIODS)[rows])
        names = _names(window.series.take(rows))
        usual, effects = float(np.median(log_R)), {column: dict[str, float]() for column in names}
        for _ in range(ROUNDS):
            for column, values in names.items():
                others_R = sum(
                    (_effect(effects[other], names[other]) for other in names if other != column), np.zeros(len(rows))
                )
                effects[column] = _means(values, log_R - usual - others_R)
        return cls(usual, effects)

    def forecast(self, series: SeriesTable, horizon: int) -> Floats:
        """mean_SH: the level of each series, the same for every step."""
        names = _names(series)
        log_S = np.full(len(series), self.usual)
        for column, effects in self.effects.items():
            log_S += _effect(effects, names.get(column, [""] * len(series)))
        return np.repeat(np.exp(log_S)[:, None], horizon, axis=1)


def _names(series: SeriesTable) -> dict[str, list[str]]:
    """By column, the names that several series share; absent ones are empty."""
    columns: dict[str, Sequence[object]] = {"item_id": series.item_id, "location": series.location, **series.static}
    return {
        column: ["" if value is None else str(value) for value in values]
        for column, values in columns.items()
        if all(value is None or isinstance(value, str) for value in values)
    }


def _means(values: Sequence[str], left_R: Floats) -> dict[str, float]:
    """Of each name, drawn to 0 where few series have it."""
    distinct, code_R = np.unique(np.array(values, dtype=str), return_inverse=True)
    drawn = np.bincount(code_R, left_R, len(distinct)) / (np.bincount(code_R, minlength=len(distinct)) + PRIOR_SERIES)
    return {str(name): float(mean) for name, mean in zip(distinct, drawn, strict=True) if name}


def _effect(effects: Mapping[str, float], values: Sequence[str]) -> Floats:
    return np.array([effects.get(value, 0.0) for value in values])
