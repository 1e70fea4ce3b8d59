"""The rule that a learnt model starts from: it says only how demand departs from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.features.demand import Floats, Ints, Window, fill
from training.features.demand_features import demand_level
from training.models.demand.member import Fitting, Member
from training.models.demand.seasonal_mean import SeasonalMean
from training.models.demand.simple import LastValue, Median26

FARTHEST = 3.0
"""Levels that one error counts for at most."""


@dataclass(frozen=True)
class Past:
    """A past window, some steps of it, their demand (nan: not observed), and the rules."""

    window: Window
    steps_K: Ints
    wanted_SK: Floats
    rules: dict[str, Member]

    def base(self, name: str) -> Floats:
        """base_SK of a rule."""
        return np.maximum(self.rules[name].forecast(self.window)[:, self.steps_K], 0.0)


def past_at(fitting: Fitting, back: int, rows: Ints, steps_K: Ints) -> Past:
    """`back` periods before the cut, with nothing known there that came later but the demand to be learnt."""
    reach = int(steps_K.max()) + 1
    window = fill(fitting.window(back, rows, reach), fitting.panel.schema.without_required())
    wanted_SK = fitting.panel.take(rows).wanted(fitting.cut_S[rows] - back, reach)[:, steps_K]
    return Past(window, steps_K, wanted_SK, rules_of(fitting.country))


def rules_of(country: str | None) -> dict[str, Member]:
    """The rules by name; the seasonal mean without its low-rank view, so that errors are not shared."""
    return {LastValue.name: LastValue(), Median26.name: Median26(), SeasonalMean.name: SeasonalMean({}, country)}


def best_rule(past: Sequence[Past]) -> str:
    """The rule whose errors, each over its series' level, add up to the least."""

    def error(name: str) -> float:
        errors = (np.abs(one.wanted_SK - one.base(name)) / demand_level(one.window)[:, None] for one in past)
        return float(sum(np.nansum(np.minimum(part, FARTHEST)) for part in errors))

    return min(rules_of(None), key=error)
