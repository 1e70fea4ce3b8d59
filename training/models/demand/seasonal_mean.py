"""The mean of the last aligned seasons, noise taken out by a low-rank view of alike series, carried to today's level.

After the winning entry of Walmart's recruiting competition (Thaler 2014): per item, an SVD over its locations.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np

from training.features.calendar import calendar_features, references
from training.features.demand import Bools, Floats, Ints, Window, gap_filled
from training.models.demand.files import read_member, write_member
from training.models.demand.member import Fitting
from training.models.demand.simple import recent_median

LEAST_SERIES, RANK = 8, 8
GROWTH_PERIODS, GROWTH_POWER, GROWTH_PRIOR = 13, 0.6, 0.1
GROWTH_BOUNDS = (0.4, 2.5)
NEIGHBOUR = 0.15
"""What a week takes from each neighbour, where neither it nor they are weeks of holidays."""
Basis = tuple[int, Floats]
"""First period, directions_KP."""


class SeasonalMean:
    """`bases` by item: directions of its series' histories."""

    name = "seasonal_mean"
    uses: frozenset[str] = frozenset()

    def __init__(self, bases: Mapping[str, Basis], country: str | None) -> None:
        self.bases, self.country = bases, country

    @classmethod
    def fit(cls, fitting: Fitting) -> Self:
        window = fitting.window()
        if not len(window):
            return cls({}, fitting.country)
        end = int(fitting.cut_S.max())
        bases: dict[str, Basis] = {}
        items = np.array([item or "" for item in window.series.item_id], dtype=object)
        aligned = window.origin_S == end
        for item in dict.fromkeys(items):
            rows = np.flatnonzero((items == item) & aligned)
            if len(rows) >= LEAST_SERIES:
                history_ST = np.nan_to_num(gap_filled(window.demand_ST[rows]))
                bases[item] = (end - fitting.memory + 1, _directions(history_ST))
        return cls(bases, fitting.country)

    def forecast(self, window: Window) -> Floats:
        out_SH = np.zeros((len(window), window.horizon))
        smooth_ST = self.smooth(window)
        for origin in np.unique(window.origin_S):
            rows = np.flatnonzero(window.origin_S == origin)
            out_SH[rows] = self._at(int(origin), window.take(rows), smooth_ST[rows])
        return out_SH

    def smooth(self, window: Window) -> Floats:
        """History with the noise taken out, unknown where nothing was known."""
        filled_ST = gap_filled(window.demand_ST)
        smooth_ST = filled_ST.copy()
        for row, item in enumerate(window.series.item_id):
            if item is not None and item in self.bases:
                _project(self.bases[item], int(window.origin_S[row]), smooth_ST[row])
        smooth_ST[~np.isfinite(filled_ST)] = np.nan
        return self._with_neighbours(window, smooth_ST) if window.frequency.unit == "week" else smooth_ST

    def _with_neighbours(self, window: Window, smooth_ST: Floats) -> Floats:
        periods_ST = window.origin_S[:, None] + np.arange(-smooth_ST.shape[1] + 1, 1)
        quiet_ST = self._quiet(window, periods_ST)
        inner = smooth_ST[:, 1:-1]
        mixed = (1 - 2 * NEIGHBOUR) * inner + NEIGHBOUR * (smooth_ST[:, :-2] + smooth_ST[:, 2:])
        calm = quiet_ST[:, 1:-1] & quiet_ST[:, :-2] & quiet_ST[:, 2:] & np.isfinite(mixed)
        smooth_ST[:, 1:-1] = np.where(calm, mixed, inner)
        return smooth_ST

    def _quiet(self, window: Window, periods_ST: Ints) -> Bools:
        """Weeks that are none of Easter's, none of the year's end, and hold no holiday."""
        facts = calendar_features(periods_ST, window.frequency, self.country)
        return (
            ((facts["from_easter"] < -1.9) | (facts["from_easter"] > 0.9))
            & (facts["from_christmas"] < -4.9)
            & ((facts["holidays"] == 0) | (facts["place_in_year"] < 0.85))
            & (facts["place_in_year"] > 0.02)
        )

    def _at(self, origin: int, window: Window, smooth_ST: Floats) -> Floats:
        """Series that share an origin."""
        length = smooth_ST.shape[1]
        first_RH, second_RH = references(origin, window.horizon, window.frequency)
        seasons = [
            (_column(smooth_ST, one_H - origin + length - 1) + _column(smooth_ST, other_H - origin + length - 1)) / 2
            for one_H, other_H in zip(first_RH, second_RH, strict=True)
        ]
        levelled = [season_SH * _level_ratio(smooth_ST, window.frequency.season, back)[:, None]
                    for back, season_SH in enumerate(seasons)]  # fmt: skip
        stacked = np.stack(levelled)
        known = np.isfinite(stacked)
        count_SH = known.sum(0)
        mean_SH = np.where(known, stacked, 0.0).sum(0) / np.maximum(count_SH, 1)
        mean_SH *= self.growth(origin, smooth_ST, window)[:, None]
        return np.where(count_SH > 0, mean_SH, recent_median(window)[:, None])

    def growth(self, origin: int, smooth_ST: Floats, window: Window) -> Floats:
        """growth_S: the last periods over the same ones a season before, damped."""
        length, season = smooth_ST.shape[1], window.frequency.season
        span = min(GROWTH_PERIODS, season, length)
        first_RH, second_RH = references(origin - span, span, window.frequency)
        then_ST = (_column(smooth_ST, first_RH[0] - origin + length - 1)
                   + _column(smooth_ST, second_RH[0] - origin + length - 1)) / 2  # fmt: skip
        return _ratio(smooth_ST[:, -span:], then_ST, smooth_ST) ** GROWTH_POWER

    def save(self, folder: Path) -> None:
        arrays = {str(place): directions for place, (_, directions) in enumerate(self.bases.values())}
        firsts = {item: first for item, (first, _) in self.bases.items()}
        write_member(folder, arrays, {"country": self.country, "firsts": firsts})

    @classmethod
    def load(cls, folder: Path) -> Self:
        arrays, settings = read_member(folder)
        bases = {
            item: (int(first), arrays[str(place)]) for place, (item, first) in enumerate(settings["firsts"].items())
        }
        return cls(bases, settings["country"])


def _directions(history_ST: Floats) -> Floats:
    """directions_KT of the greatest variance."""
    _, _, directions = np.linalg.svd(history_ST, full_matrices=False)
    return np.asarray(directions[: min(RANK, len(history_ST))])


def _project(basis: Basis, origin: int, row_T: Floats) -> None:
    """Replace the part of a history that the basis covers by its low-rank view; gaps count as 0 there."""
    first, directions_KP = basis
    start = origin - len(row_T) + 1
    low, high = max(first, start), min(first + directions_KP.shape[1], origin + 1)
    if high <= low:
        return
    whole_P = np.zeros(directions_KP.shape[1])
    whole_P[low - first : high - first] = np.nan_to_num(row_T[low - start : high - start])
    row_T[low - start : high - start] = ((whole_P @ directions_KP.T) @ directions_KP)[low - first : high - first]


def _column(values_ST: Floats, places_H: Ints) -> Floats:
    inside_H = (places_H >= 0) & (places_H < values_ST.shape[1])
    return np.where(inside_H, values_ST[:, np.where(inside_H, places_H, 0)], np.nan)


def _level_ratio(smooth_ST: Floats, season: int, back: int) -> Floats:
    """ratio_S of the last season's level to that of `back` seasons before; 1 where either is unknown."""
    if not back:
        return np.ones(len(smooth_ST))
    length = smooth_ST.shape[1]
    if length < season * (back + 1):
        return np.ones(len(smooth_ST))
    return _ratio(
        smooth_ST[:, length - season :], smooth_ST[:, length - season * (back + 1) : length - season * back], smooth_ST
    )


def _ratio(now_ST: Floats, then_ST: Floats, all_ST: Floats) -> Floats:
    """Sums over periods known in both, drawn to 1 by a share of the usual level, bounded."""
    both = np.isfinite(now_ST) & np.isfinite(then_ST)
    now_S, then_S = np.where(both, now_ST, 0.0).sum(1), np.where(both, then_ST, 0.0).sum(1)
    known = np.isfinite(all_ST)
    usual_S = np.where(known, np.abs(all_ST), 0.0).sum(1) / np.maximum(known.sum(1), 1)
    prior_S = GROWTH_PRIOR * usual_S * np.maximum(both.sum(1), 1) + 1e-9
    return np.clip((np.maximum(now_S, 0.0) + prior_S) / (np.maximum(then_S, 0.0) + prior_S), *GROWTH_BOUNDS)
