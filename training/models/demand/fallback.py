"""A forecaster of nothing but a baseline: what a shop has before anything was trained, and what tests start from."""

from __future__ import annotations

import numpy as np

from training.features.demand import Panel, fill
from training.models.demand.groups import Grouping
from training.models.demand.intervals import Intervals, error_scale
from training.models.demand.member import Member
from training.models.demand.simple import Median26
from training.models.forecaster import Forecaster, Plan

MEMORY_SEASONS = 3


def baseline_forecaster(panel: Panel, horizon: int, member: Member | None = None) -> Forecaster:
    """`member` (by default the median of 26 periods) for every series; intervals from one origin before the end."""
    chosen = member or Median26()
    memory = min(MEMORY_SEASONS * max(panel.frequency.season, 13), max(panel.demand_SP.shape[1], 1))
    origin = panel.end - 1 - horizon
    window = fill(panel.window(origin, length=memory, horizon=horizon), panel.schema.without_required())
    grouping, mean_SH = Grouping.of_horizon(horizon), chosen.forecast(window)
    errors_SH = (panel.actual(origin, horizon) - mean_SH) / error_scale(window, mean_SH)
    return Forecaster(
        horizon=horizon, memory=memory, frequency=panel.frequency, covariates=panel.schema, quantiles=(0.1, 0.5, 0.9),
        members={chosen.name: chosen}, plan=Plan(chosen={"all": {chosen.name: 1.0}}, informed={}), grouping=grouping,
        intervals=Intervals.fit(horizon, grouping.of(window), errors_SH), panel=panel,
        non_negative=not bool(np.nanmin(panel.demand_SP) < 0),
    )  # fmt: skip
