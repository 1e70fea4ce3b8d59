"""The honest baselines of demand: the last value, the same period of last season, the median of half a year."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Self

import numpy as np

from training.features.demand import Floats, Window, forward_filled


class _Stateless:
    """A rule without parameters."""

    name = ""
    uses: frozenset[str] = frozenset()

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def load(cls, _folder: Path) -> Self:
        return cls()


class LastValue(_Stateless):
    """The last known demand, 0 for a series without any."""

    name = "last_value"

    def forecast(self, window: Window) -> Floats:
        return np.repeat(last_value(window)[:, None], window.horizon, axis=1)


class SeasonalNaive(_Stateless):
    """The demand one season before (or as many as it takes), the last known value where that is unknown."""

    name = "seasonal_naive"

    def forecast(self, window: Window) -> Floats:
        season, length = window.frequency.season, window.demand_ST.shape[1]
        ahead_H = np.arange(1, window.horizon + 1)
        back_H = season * -(-ahead_H // season) - ahead_H
        inside_H = back_H < length
        taken_SH = window.demand_ST[:, np.where(inside_H, length - 1 - back_H, 0)]
        known_SH = np.isfinite(taken_SH) & inside_H
        return np.where(known_SH, taken_SH, last_value(window)[:, None])


class Median26(_Stateless):
    """The median of the last 26 periods, 0 for a series without any."""

    name = "median_26"

    def forecast(self, window: Window) -> Floats:
        return np.repeat(recent_median(window)[:, None], window.horizon, axis=1)


def last_value(window: Window) -> Floats:
    """value_S: the last known demand, 0 where there is none."""
    if not window.demand_ST.shape[1]:
        return np.zeros(len(window))
    return np.nan_to_num(forward_filled(window.demand_ST)[:, -1])


def recent_median(window: Window, periods: int = 26) -> Floats:
    """value_S: the median of what is known of the last periods; where nothing is, the last known demand."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a series with nothing known
        medians_S = np.nanmedian(window.demand_ST[:, -periods:], axis=1) if len(window) else np.zeros(0)
    return np.where(np.isfinite(medians_S), medians_S, last_value(window))
