"""A forecaster of one simple member, for tests that need one and no training."""

from __future__ import annotations

import numpy as np

from training.features.demand import Panel, fill
from training.models.demand.groups import Grouping
from training.models.demand.intervals import Intervals, error_scale
from training.models.demand.member import Member
from training.models.forecaster import Forecaster, Plan

MEMORY_SEASONS = 3


def baseline_forecaster(panel: Panel, horizon: int, member: Member) -> Forecaster:
    """`member` for every series; intervals from one origin before the end."""
    memory = min(MEMORY_SEASONS * max(panel.frequency.season, 13), max(panel.demand_SP.shape[1], 1))
    origin = panel.end - 1 - horizon
    window = fill(panel.window(origin, length=memory, horizon=horizon), panel.schema.without_required())
    grouping, mean_SH = Grouping.of_horizon(horizon), member.forecast(window)
    errors_SH = (panel.actual(origin, horizon) - mean_SH) / error_scale(window, mean_SH)
    return Forecaster(
        horizon=horizon, memory=memory, frequency=panel.frequency, covariates=panel.schema, quantiles=(0.1, 0.5, 0.9),
        members={member.name: member}, plan=Plan(chosen={"all": {member.name: 1.0}}, informed={}), grouping=grouping,
        intervals=Intervals.fit(horizon, grouping.of(window), errors_SH), panel=panel,
        non_negative=not bool(np.nanmin(panel.demand_SP) < 0),
    )  # fmt: skip
