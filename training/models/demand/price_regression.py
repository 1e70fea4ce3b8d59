"""Log-log panel regression on what is known ahead: elasticities by item, a level for each series.

The within estimator of a fixed-effects panel (Montgomery 1997 fits the same to orange juice); the level runs on with an
exponentially weighted mean of what the covariates leave unexplained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np

from training.features.demand import Floats, Window, fill
from training.features.demand_features import OFFSET, demand_level, scaled
from training.models.demand.files import read_member, write_member
from training.models.demand.member import Fitting

PRIOR_ROWS, HALF_LIFE, ALL = 200.0, 10.0, "*"
MOST_LIFT = 4.0
"""Logarithm of the largest effect that covariates may have against the level."""


class PriceRegression:
    """`effects[item]` are elasticities in the order of `names`."""

    name = "price_regression"

    def __init__(self, names: tuple[str, ...], effects: Mapping[str, Floats]) -> None:
        self.names, self.effects = names, effects
        self.uses = frozenset(names)

    @classmethod
    def fit(cls, fitting: Fitting) -> Self:
        window = fill(fitting.window(), fitting.panel.schema.without_required())
        names = tuple(window.future)
        known_ST, log_ST, told_STC, _ = _logs(window, names)
        weight_ST1 = known_ST[:, :, None]
        count_S1 = np.maximum(known_ST.sum(1), 1)[:, None]
        told_STC = np.where(weight_ST1, told_STC - (told_STC * weight_ST1).sum(1)[:, None] / count_S1[:, None], 0.0)
        log_ST = np.where(known_ST, log_ST - (log_ST * known_ST).sum(1)[:, None] / count_S1, 0.0)
        square_SCC = np.einsum("stc,std->scd", told_STC, told_STC)
        cross_SC = np.einsum("stc,st->sc", told_STC, log_ST)
        rows = max(int(known_ST.sum()), 1)
        mean_square, mean_cross = square_SCC.sum(0) / rows, cross_SC.sum(0) / rows
        ridge = 1e-4 * np.eye(len(names))
        effects = {ALL: np.linalg.solve(mean_square + ridge, mean_cross)}
        items = np.array([item or "" for item in window.series.item_id], dtype=object)
        for item in dict.fromkeys(items):
            of_item = np.flatnonzero(items == item)
            square = square_SCC[of_item].sum(0) + PRIOR_ROWS * (mean_square + ridge)
            drawn = PRIOR_ROWS * (mean_square + ridge) @ effects[ALL]
            effects[str(item)] = np.linalg.solve(square, cross_SC[of_item].sum(0) + drawn)
        return cls(names, effects)

    def forecast(self, window: Window) -> Floats:
        known_ST, log_ST, told_STC, ahead_SHC = _logs(window, self.names)
        effect_SC = np.stack([self.effects.get(item or "", self.effects[ALL]) for item in window.series.item_id]) if (
            len(window)) else np.zeros((0, len(self.names)))  # fmt: skip
        age_T = np.arange(log_ST.shape[1])[::-1]
        weight_ST = known_ST * 0.5 ** (age_T / HALF_LIFE)
        left_ST = log_ST - np.einsum("stc,sc->st", told_STC, effect_SC)
        level_S = (weight_ST * left_ST).sum(1) / np.maximum(weight_ST.sum(1), 1e-12)
        lift_SH = np.clip(np.einsum("shc,sc->sh", ahead_SHC, effect_SC), -MOST_LIFT, MOST_LIFT)
        offset_S = OFFSET * demand_level(window)
        out_SH = np.exp(level_S[:, None] + lift_SH) - offset_S[:, None]
        return np.where(np.asarray(known_ST.any(1))[:, None], np.maximum(out_SH, 0.0), 0.0)

    def save(self, folder: Path) -> None:
        arrays = {str(place): effects for place, effects in enumerate(self.effects.values())}
        write_member(folder, arrays, {"names": self.names, "items": list(self.effects)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        arrays, settings = read_member(folder)
        return cls(tuple(settings["names"]), {item: arrays[str(place)] for place, item in enumerate(settings["items"])})


def _logs(window: Window, names: tuple[str, ...]) -> tuple[np.ndarray, Floats, Floats, Floats]:
    """Where demand is known, its logarithm, and the covariates then and ahead (0 = usual or unknown)."""
    known_ST = np.isfinite(window.demand_ST)
    offset_S1 = OFFSET * demand_level(window)[:, None]
    log_ST = np.where(known_ST, np.log(np.maximum(np.nan_to_num(window.demand_ST), 0.0) + offset_S1), 0.0)
    pairs = [scaled(window.past[name], window.future[name], logged=name in window.logged) for name in names]
    told = [np.nan_to_num(past) for past, _ in pairs]
    ahead = [np.nan_to_num(future) for _, future in pairs]
    shape = (len(window), window.demand_ST.shape[1], 0)
    return (
        known_ST, log_ST, np.stack(told, -1) if told else np.zeros(shape),
        np.stack(ahead, -1) if ahead else np.zeros((len(window), window.horizon, 0)),
    )  # fmt: skip
