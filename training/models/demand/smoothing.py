"""AutoETS and theta, fitted by statsforecast, kept as numbers and run on by one vectorised recursion.

Hyndman & Khandakar 2008; Assimakopoulos & Nikolopoulos 2000 in the form of Fiorucci et al. 2016. For additive trends
the recursions of additive and multiplicative errors are the same in terms of the error, so that one covers both.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from training.features.demand import Floats, Ints, Window, gap_filled
from training.models.demand.files import read_member, write_member
from training.models.demand.member import Fitting
from training.models.demand.simple import recent_median

LONGEST, LEAST, LONGEST_SEASON = 260, 8, 24
PARAMETERS = ("alpha", "beta", "gamma", "phi", "level", "trend", "drift", "count", "intercept", "multiplicative")


class _Smoothing(ABC):
    """A row of numbers a series, as of the end of its training data; a series without gets its recent median."""

    name = ""
    uses: frozenset[str] = frozenset()
    unfitted = 0
    """Series with enough history that could not be fitted."""

    def __init__(self, series_id: Sequence[str], cut_S: Ints, numbers: dict[str, Floats], season_SM: Floats) -> None:
        self.series_id, self.cut_S, self.numbers, self.season_SM = tuple(series_id), cut_S, numbers, season_SM
        self._row = {name: row for row, name in enumerate(self.series_id)}

    @classmethod
    def fit(cls, fitting: Fitting) -> Self:
        """Every series with enough history, block by block where the fitting's `blocks` spreads them."""
        window = fitting.window()
        season = window.frequency.season if window.frequency.season <= LONGEST_SEASON else 1
        filled_ST = gap_filled(window.demand_ST)[:, -LONGEST:]
        enough = np.flatnonzero((np.isfinite(filled_ST).sum(1) >= max(LEAST, 2 * season + 2)) & _varies(filled_ST))
        histories = [filled_ST[row][np.isfinite(filled_ST[row])] for row in enough]
        fitted = fitting.blocks(cls.fit_block, histories, season)
        kept = [(int(row), one) for row, one in zip(enough, fitted, strict=True) if one is not None]
        numbers = {name: np.array([one[name] for _, one in kept]) for name in PARAMETERS}
        seasons = np.array([one["seasonal"] for _, one in kept]).reshape(len(kept), season)
        rows = [row for row, _ in kept]
        member = cls([window.series.series_id[row] for row in rows], window.origin_S[rows], numbers, seasons)
        member.unfitted = len(enough) - len(kept)
        return member

    @staticmethod
    @abstractmethod
    def fit_block(histories: Sequence[Floats], season: int) -> list[dict[str, Any] | None]:
        """Of each history its PARAMETERS and `seasonal`; None where it cannot be fitted."""

    def forecast(self, window: Window) -> Floats:
        out_SH = np.repeat(recent_median(window)[:, None], window.horizon, axis=1)
        rows = np.array([row for row, name in enumerate(window.series.series_id) if name in self._row], np.int64)
        if len(rows):
            known = np.array([self._row[window.series.series_id[row]] for row in rows])
            said_RH = self._run_on(window.take(rows), known)
            out_SH[rows] = np.where(np.isfinite(said_RH), said_RH, out_SH[rows])
        return out_SH

    def _run_on(self, window: Window, known: Ints) -> Floats:
        """From the state at the cut over what was observed since, then ahead."""
        n = {name: values[known].copy() for name, values in self.numbers.items()}
        season_RM = self.season_SM[known].copy()
        late_R = window.origin_S - self.cut_S[known]
        length, period = window.demand_ST.shape[1], season_RM.shape[1]
        rows = np.arange(len(known))
        for step in range(int(late_R.max(initial=0))):
            column_R = length - late_R + step
            new_R = np.where(
                (step < late_R) & (column_R >= 0), window.demand_ST[rows, np.clip(column_R, 0, length - 1)], np.nan
            )
            _observe(n, season_RM, step % period, new_R)
        return self._ahead(n, season_RM, late_R, window.horizon)

    def _ahead(self, n: dict[str, Floats], season_RM: Floats, late_R: Ints, horizon: int) -> Floats:
        rows, period = np.arange(len(late_R)), season_RM.shape[1]
        out = np.zeros((len(rows), horizon))
        damped_R, trend_R = np.zeros(len(rows)), n["phi"].copy()
        for step in range(horizon):
            damped_R += trend_R
            trend_R = trend_R * n["phi"]
            seasonal_R = season_RM[rows, (np.maximum(late_R, 0) + step) % period]
            level_R = n["level"] + damped_R * n["trend"] + _theta_drift(n, step)
            out[:, step] = np.where(n["multiplicative"] > 0, level_R * seasonal_R, level_R + seasonal_R)
        return out

    def save(self, folder: Path) -> None:
        arrays = {**self.numbers, "cut": self.cut_S, "seasonal": self.season_SM}
        write_member(folder, arrays, {"series_id": self.series_id, "unfitted": self.unfitted})

    @classmethod
    def load(cls, folder: Path) -> Self:
        arrays, settings = read_member(folder)
        numbers = {name: arrays[name] for name in PARAMETERS}
        member = cls(settings["series_id"], arrays["cut"], numbers, arrays["seasonal"])
        member.unfitted = int(settings.get("unfitted", 0))
        return member


class AutoEts(_Smoothing):
    """Exponential smoothing whose form AICc chose, multiplicative trends left out."""

    name = "auto_ets"

    @staticmethod
    def fit_block(histories: Sequence[Floats], season: int) -> list[dict[str, Any] | None]:
        from statsforecast.models import AutoETS

        return [_quietly(lambda y=y: _ets(AutoETS(season_length=season).fit(y).model_, season)) for y in histories]


class Theta(_Smoothing):
    """The standard theta method (theta = 2) on seasonally adjusted demand."""

    name = "theta"

    @staticmethod
    def fit_block(histories: Sequence[Floats], season: int) -> list[dict[str, Any] | None]:
        return [_quietly(lambda y=y: _theta(y, season)) for y in histories]


def _quietly(fit: Any) -> dict[str, Any] | None:
    """None where a series cannot be fitted: it is answered by its recent median."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found: dict[str, Any] = fit()
        except Exception:
            return None
    return found if all(np.all(np.isfinite(value)) for value in found.values()) else None


def _ets(model: dict[str, Any], season: int) -> dict[str, Any]:
    """Numbers of a fitted ETS; its last states are level, trend where there is one, seasons newest first."""
    _, trend, seasonal, damped = _form(model["components"])
    alpha, beta, gamma, phi = (float(value) for value in model["par"][:4])
    state = np.asarray(model["states"])[-1]
    level, slope = float(state[0]), float(state[1]) if trend else 0.0
    seasons = state[1 + trend : 1 + trend + season][::-1] if seasonal else np.zeros(season)
    ratio = seasonal == "M"
    return {
        "alpha": alpha, "beta": beta if trend else 0.0, "gamma": gamma if seasonal else 0.0,
        "phi": phi if damped else 1.0, "level": level, "trend": slope, "drift": 0.0, "count": 0.0, "intercept": 0.0,
        "multiplicative": float(ratio), "seasonal": seasons if seasonal else np.zeros(season),
    }  # fmt: skip


def _form(components: str) -> tuple[str, int, str, bool]:
    """Error, whether there is a trend, the season's kind ("" = none), whether the trend is damped."""
    error, trend, season, damped = components[0], components[1], components[2], components[3]
    if trend == "M":
        raise ValueError("multiplicative trend")
    return error, int(trend == "A"), "" if season == "N" else season, damped not in ("N", "F")


def _theta(history_T: Floats, season: int) -> dict[str, Any]:
    from statsforecast.models import Theta as Fitted

    seasons = _season_indices(history_T, season)
    ratio = bool(history_T.min() > 0) and season > 1
    places = np.arange(len(history_T)) % season
    adjusted = history_T / seasons[places] if ratio else history_T - seasons[places]
    model = Fitted(season_length=1).fit(adjusted).model_
    alpha = float(model["par"]["alpha"])
    level = float(model["par"]["initial_smoothed"])
    for value in adjusted:
        level += alpha * (value - level)
    count = len(adjusted)
    slope, intercept = np.polyfit(np.arange(1, count + 1), adjusted, 1)
    return {
        "alpha": alpha, "beta": 0.0, "gamma": 0.0, "phi": 1.0, "level": level, "trend": 0.0, "drift": float(slope),
        "count": float(count), "intercept": float(intercept), "multiplicative": float(ratio),
        "seasonal": np.roll(seasons, -(count % season)),
    }  # fmt: skip


def _season_indices(history_T: Floats, season: int) -> Floats:
    """Classical indices around a centred moving mean: ratios where all demand is above 0, else differences."""
    ratio = bool(history_T.min() > 0)
    if season == 1:
        return np.array([0.0])
    kernel = np.r_[0.5, np.ones(season - 1), 0.5] / season if season % 2 == 0 else np.ones(season) / season
    half = len(kernel) // 2
    smooth = np.convolve(history_T, kernel, "valid")
    inner = history_T[half : half + len(smooth)]
    parts = inner / smooth if ratio else inner - smooth
    places = (np.arange(len(parts)) + half) % season
    indices = np.array([np.median(parts[places == place]) for place in range(season)])
    return np.asarray(indices / indices.mean() if ratio else indices - indices.mean())


def _theta_drift(n: dict[str, Floats], step: int) -> Floats:
    """Half the line's rise since its fit, 0 for smoothing without one (Fiorucci et al. 2016, eq. 6, theta = 2)."""
    alpha_R = np.maximum(n["alpha"], 1e-6)
    faded_R = (1 - alpha_R) ** n["count"]
    rise_R = n["drift"] * (step + (1 - (1 - alpha_R) ** (n["count"] + 1)) / alpha_R)
    return np.asarray(0.5 * (faded_R * n["intercept"] + rise_R) * (n["count"] > 0))


def _observe(n: dict[str, Floats], season_RM: Floats, place: int, new_R: Floats) -> None:
    """One more period: states move by the error where demand is known, ahead by the trend where it is not."""
    before_R = n["level"] + n["phi"] * n["trend"]
    seasonal_R = season_RM[:, place]
    ratio = n["multiplicative"] > 0
    said_R = np.where(ratio, before_R * seasonal_R, before_R + seasonal_R)
    error_R = np.where(np.isfinite(new_R), new_R - said_R, 0.0)
    per_season_R = np.where(ratio, error_R / np.where(np.abs(seasonal_R) > 1e-9, seasonal_R, 1.0), error_R)
    per_level_R = np.where(ratio, error_R / np.where(np.abs(before_R) > 1e-9, before_R, 1.0), error_R)
    n["level"] = before_R + n["alpha"] * per_season_R
    n["trend"] = n["phi"] * n["trend"] + n["beta"] * per_season_R
    season_RM[:, place] = seasonal_R + n["gamma"] * per_level_R
    n["count"] = np.where(n["count"] > 0, n["count"] + 1, 0.0)


def _varies(filled_ST: Floats) -> np.ndarray:
    """Series that are not one constant."""
    low_S = np.where(np.isfinite(filled_ST), filled_ST, np.inf).min(1)
    return np.asarray(np.where(np.isfinite(filled_ST), filled_ST, -np.inf).max(1) > low_S)
