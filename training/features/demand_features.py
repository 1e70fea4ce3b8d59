"""What a demand model is told of a series, an origin and a step ahead: the same numbers in training and in serving.

Every number is free of the series' size: demand counts relative to its level, prices to the series' usual price.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.features.calendar import calendar_features, references
from training.features.demand import Floats, Ints, Window, forward_filled, gap_filled

OFFSET = 0.02
"""Of the level: what is added before logarithms are taken, so that zeros have one."""
ALIKE_PERIODS, ALIKE_AGE, ALIKE_WIDTH = 78, 30.0, 0.35
LEAST_LOGGED = 1e-9
MEANS = (4, 8, 13, 26, 52)
LAGS = 6


@dataclass(frozen=True)
class DemandFeatures:
    """names_F; values_NF, a row a series and step (series first); level_N in units of demand."""

    names: tuple[str, ...]
    values_NF: Floats
    level_N: Floats


def demand_features(window: Window, steps_K: Ints, country: str | None, codes: Codes) -> DemandFeatures:
    """Of every series at each of the steps (0 = the first period after the origin)."""
    rows, steps = len(window), len(steps_K)
    level_S = demand_level(window)
    demand_ST = gap_filled(window.demand_ST) / level_S[:, None]
    columns: dict[str, Floats] = {}
    per_series = {**_recent(demand_ST, window), **_past_covariates(window), **codes.of(window)}
    for name, values_S in per_series.items():
        columns[name] = np.repeat(values_S, steps)
    columns["step"] = np.tile(steps_K + 1.0, rows)
    for name, values in calendar_features(window.periods_SH[:, steps_K], window.frequency, country).items():
        columns[name] = values.ravel()
    for name, values_SK in {**_seasons(demand_ST, window, steps_K), **_known(window, demand_ST, steps_K)}.items():
        columns[name] = values_SK.ravel()
    values_NF = np.stack(list(columns.values()), axis=1)
    return DemandFeatures(tuple(columns), values_NF, np.repeat(level_S, steps))


def demand_level(window: Window, periods: int = 52) -> Floats:
    """level_S, above 0: mean absolute demand of the last periods."""
    recent_ST = np.abs(window.demand_ST[:, -periods:])
    known_ST = np.isfinite(recent_ST)
    return np.maximum(np.where(known_ST, recent_ST, 0.0).sum(1) / np.maximum(known_ST.sum(1), 1), 1e-6)


class Codes:
    """Numbers for names, as a model was trained with them (nan: unknown). `numeric`: statics that are numbers."""

    def __init__(self, of_column: Mapping[str, Mapping[str, int]], numeric: Sequence[str] = ()) -> None:
        self.of_column = {name: dict(codes) for name, codes in of_column.items()}
        self.numeric = tuple(numeric)

    @classmethod
    def fit(cls, window: Window, *, least: int = 5, most: int = 300) -> Codes:
        """Columns whose values are shared by at least `least` series on average."""
        found = {}
        for name, values in _named(window).items():
            texts = [value for value in values if isinstance(value, str)]
            distinct = sorted(set(texts))
            if 1 < len(distinct) <= min(most, max(1, len(texts) // least)):
                found[name] = {text: code for code, text in enumerate(distinct)}
        numeric = [name for name, values in window.series.static.items() if _numbers(values)]
        return cls(found, numeric)

    def of(self, window: Window) -> dict[str, Floats]:
        named = _named(window)
        texts = {
            f"code:{name}": np.array([float(codes.get(str(value), np.nan)) for value in named[name]])
            for name, codes in self.of_column.items()
        }
        numbers = {
            f"static:{name}": np.array(
                [float(value) if isinstance(value, (int, float)) else np.nan for value in named[name]]
            )
            for name in self.numeric
        }
        return {**texts, **numbers}


def _numbers(values: Sequence[object]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, (int, float)) for value in known)


def _named(window: Window) -> dict[str, Sequence[object]]:
    return {"item_id": window.series.item_id, "location": window.series.location, **window.series.static}


def _recent(demand_ST: Floats, window: Window) -> dict[str, Floats]:
    """Level, spread, trend and last values, relative to the level."""
    values: dict[str, Floats] = {}
    for lag in range(1, LAGS + 1):
        values[f"lag{lag}"] = demand_ST[:, -lag] if demand_ST.shape[1] >= lag else np.full(len(window), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # series with nothing known
        for periods in MEANS:
            values[f"mean{periods}"] = np.nanmean(demand_ST[:, -periods:], axis=1)
        values["median26"] = np.nanmedian(demand_ST[:, -26:], axis=1)
        values["least26"] = np.nanmin(demand_ST[:, -26:], axis=1)
        values["most26"] = np.nanmax(demand_ST[:, -26:], axis=1)
        values["spread13"] = np.nanstd(demand_ST[:, -13:], axis=1)
        values["spread52"] = np.nanstd(demand_ST[:, -52:], axis=1)
        values["step_error"] = np.nanmean(np.abs(np.diff(demand_ST[:, -53:], axis=1)), axis=1)
        values["zeros"] = np.nanmean(np.where(np.isfinite(demand_ST), demand_ST == 0, np.nan)[:, -52:], axis=1)
    values["known"] = np.isfinite(window.demand_ST).sum(1).astype(float)
    return values


def _seasons(demand_ST: Floats, window: Window, steps_K: Ints) -> dict[str, Floats]:
    """Demand of the aligned periods of earlier seasons, their neighbours, and how today's level stands to theirs."""
    out: dict[str, Floats] = {}
    shape = (len(window), len(steps_K))
    for origin in np.unique(window.origin_S):
        rows = np.flatnonzero(window.origin_S == origin)
        first_RH, second_RH = references(int(origin), window.horizon, window.frequency)
        offset = demand_ST.shape[1] - 1 - int(origin)
        for back in range(min(2, len(first_RH))):
            one_K, other_K = first_RH[back][steps_K] + offset, second_RH[back][steps_K] + offset
            taken = (_at(demand_ST[rows], one_K) + _at(demand_ST[rows], other_K)) / 2
            around = _mean_of([_at(demand_ST[rows], one_K + shift) for shift in (-1, 0, 1)])
            out.setdefault(f"season{back + 1}", np.full(shape, np.nan))[rows] = taken
            out.setdefault(f"around_season{back + 1}", np.full(shape, np.nan))[rows] = around
        then = _mean_of([_at(demand_ST[rows], first_RH[0][:1] + offset - shift)[:, 0] for shift in range(1, 14)])
        growth = mean_known(demand_ST[rows][:, -13:]) / np.maximum(then, 1e-3)
        out.setdefault("growth", np.full(shape, np.nan))[rows] = growth[:, None]
    return out


def _known(window: Window, demand_ST: Floats, steps_K: Ints) -> dict[str, Floats]:
    """Known-future covariates at the step, against their past, and what demand was when they were alike."""
    out: dict[str, Floats] = {}
    log_ST = np.log(np.maximum(demand_ST, 0.0) + OFFSET)[:, -ALIKE_PERIODS:]
    age_T = np.arange(log_ST.shape[1])[::-1]
    distance_SKT = np.zeros((len(window), len(steps_K), log_ST.shape[1]), np.float32)
    for name, ahead_SH in window.future.items():
        past_ST, ahead_SK = scaled(window.past[name], ahead_SH[:, steps_K], logged=name in window.logged)
        out[f"known:{name}"] = ahead_SK
        out[f"change:{name}"] = ahead_SK - forward_filled(past_ST)[:, -1:]
        if name not in window.logged:
            out[f"usual:{name}"] = np.broadcast_to(mean_known(past_ST[:, -52:])[:, None], ahead_SK.shape)
        spread_S = np.maximum(spread(past_ST), 1e-3)[:, None, None]
        gap_SKT = np.abs(ahead_SK[:, :, None] - past_ST[:, None, -ALIKE_PERIODS:]) / spread_S
        distance_SKT += np.nan_to_num(gap_SKT, nan=0.0).astype(np.float32)
    if window.future:
        weight_SKT = np.exp(-distance_SKT / ALIKE_WIDTH - age_T / ALIKE_AGE) * np.isfinite(log_ST)[:, None, :]
        total_SK = weight_SKT.sum(2)
        mean_SK = (weight_SKT * np.nan_to_num(log_ST)[:, None, :]).sum(2) / np.maximum(total_SK, 1e-9)
        out["alike"] = np.where(total_SK > 1e-6, mean_SK, np.nan)
        out["alike_weight"] = np.log(total_SK + 1e-6)
    return out


def scaled(past_ST: Floats, ahead_SK: Floats, *, logged: bool) -> tuple[Floats, Floats]:
    """A covariate that is `logged` as logarithms around the series' usual value; any other as it is."""
    if not logged:
        return past_ST, ahead_SK
    past_ST, ahead_SK = np.maximum(past_ST, LEAST_LOGGED), np.maximum(ahead_SK, LEAST_LOGGED)
    usual_S1 = mean_known(np.log(past_ST[:, -52:]))[:, None]
    usual_S1 = np.where(np.isfinite(usual_S1), usual_S1, mean_known(np.log(ahead_SK))[:, None])
    return np.log(past_ST) - usual_S1, np.log(ahead_SK) - usual_S1


def _past_covariates(window: Window) -> dict[str, Floats]:
    """Past-only covariates: how the last values stand to the year's."""
    out: dict[str, Floats] = {}
    for name, values_ST in window.past.items():
        if name not in window.future and values_ST.shape[1]:
            recent_S, usual_S = mean_known(values_ST[:, -4:]), mean_known(values_ST[:, -52:])
            out[f"past:{name}"] = recent_S - usual_S
    return out


def mean_known(values_ST: Floats) -> Floats:
    known = np.isfinite(values_ST)
    return np.where(known.any(1), np.where(known, values_ST, 0.0).sum(1) / np.maximum(known.sum(1), 1), np.nan)


def _mean_of(parts: Sequence[Floats]) -> Floats:
    """The mean of equal shapes over what is known; nan where nothing is."""
    stacked = np.stack(parts)
    known = np.isfinite(stacked)
    return np.where(known.any(0), np.where(known, stacked, 0.0).sum(0) / np.maximum(known.sum(0), 1), np.nan)


def spread(values_ST: Floats) -> Floats:
    known = np.isfinite(values_ST)
    mean_S1 = np.nan_to_num(mean_known(values_ST))[:, None]
    squares = np.where(known, values_ST - mean_S1, 0.0) ** 2
    return np.asarray(np.sqrt(squares.sum(1) / np.maximum(known.sum(1), 1)))


def _at(values_ST: Floats, places_K: Ints) -> Floats:
    inside_K = (places_K >= 0) & (places_K < values_ST.shape[1])
    return np.where(inside_K, values_ST[:, np.where(inside_K, places_K, 0)], np.nan)
