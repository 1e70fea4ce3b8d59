"""What a forecaster is trained and judged on: where training ends, and the origins of the backtest and of the test."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from training.contracts.covariates import CovariateSchema
from training.contracts.errors import InputError, Problem
from training.features.demand import Bools, Floats, Ints, Panel, Window, fill

HORIZONS = {"hour": 48, "day": 28, "week": 13, "month": 12, "quarter": 4, "year": 3}
MEMORY_SEASONS, LEAST_MEMORY, LONGEST_MEMORY = 3, 78, 400
BACKTEST_SHARE, SPAN_SHARE = 4, 8
"""The backtest's horizon and the span of its origins are at most these parts of the history."""

LONG_SEASONS, FEW_PERIODS = 3, 15
"""A history of fewer seasons is needed for fitting: its backtest spans this many periods, or has one origin."""

MOST_REACH = 2
"""Of the horizon: how far the held-out periods may reach where nothing sells between, as on closed days."""


@dataclass(frozen=True)
class Task:
    """`visible` ends at cut_S; the test's origins begin there. `held_out_SP` are the rows that may be scored."""

    panel: Panel
    visible: Panel
    cut_S: Ints
    horizon: int
    origins: int
    memory: int
    held_out_SP: Bools | None

    def test_origins(self) -> list[Ints]:
        return [self.cut_S + step for step in range(self.origins)]

    def actual(self, origin_S: Ints) -> Floats:
        """actual_SH of what may be scored."""
        actual_SH = self.panel.actual(origin_S, self.horizon)
        if self.held_out_SP is None:
            return actual_SH
        marked = np.where(self.held_out_SP, 1.0, np.nan)
        places = replace(self.panel, demand_SP=marked, sold_SP=None).actual(origin_S, self.horizon)
        return np.where(np.isfinite(places), actual_SH, np.nan)

    def backtest(self, origins: int) -> tuple[list[Ints], int]:
        """Origins inside the visible weeks, oldest first, and how far ahead each is judged."""
        length = int(np.isfinite(self.visible.demand_SP).sum(1).max(initial=0))
        horizon = max(1, min(self.horizon, length // BACKTEST_SHARE))
        long = length >= LONG_SEASONS * self.panel.frequency.season
        span = max(0, min(length // SPAN_SHARE, length - horizon - 4, length if long else FEW_PERIODS - horizon))
        count = min(origins, span + 1)
        backs = np.unique(np.linspace(0, span, count).astype(int))[::-1] if count > 1 else np.array([0])
        return [self.cut_S - horizon - int(back) for back in backs], horizon

    def for_baselines(self) -> Task:
        """As the contract's baselines see it: all that was sold, stock-outs not recovered, no covariates."""
        panel, visible = (
            replace(of.as_sold(), covariates={}, schema=CovariateSchema()) for of in (self.panel, self.visible)
        )
        return replace(self, panel=panel, visible=visible, memory=panel.demand_SP.shape[1])

    def window(self, origin_S: Ints, horizon: int | None = None) -> Window:
        """What is visible at an origin; a past that lacks a required covariate is no reason to stop."""
        window = self.panel.window(origin_S, length=self.memory, horizon=horizon or self.horizon)
        return fill(window, self.panel.schema.without_required())


def task_of(panel: Panel, horizon: int | None, origins: int, *, steps: int | None = None) -> Task:
    """Held out: the split's test rows, else the last `horizon` periods in which anything was observed.

    As many steps ahead as these reach, or `steps`. A split has one origin, whatever `origins` says. Raises InputError
    where the history is too short.
    """
    memory = int(np.clip(MEMORY_SEASONS * panel.frequency.season, LEAST_MEMORY, LONGEST_MEMORY))
    memory = min(memory, panel.demand_SP.shape[1])
    if (test_SP := scored_by_split(panel)) is not None:
        return _split_task(panel, test_SP, steps or horizon, memory)
    observed_P = np.flatnonzero(np.isfinite(panel.demand_SP).any(0))
    length = panel.end - panel.first
    held_out = horizon or max(1, min(HORIZONS[panel.frequency.unit], len(observed_P) // 5))
    wanted = steps or _reach(observed_P, length, held_out)
    if length < wanted + origins + 1:
        raise InputError(
            Problem(field="horizon", problem="the history is too short for this horizon and number of origins",
                    found=f"horizon {wanted}, origins {origins}, {length} periods",
                    allowed=f"together at most {length - 1}")
        )  # fmt: skip
    cut_S = np.full(len(panel), panel.end - 1 - wanted - (origins - 1), np.int64)
    return Task(panel, panel.until(cut_S), cut_S, wanted, origins, memory, None)


def _reach(observed_P: Ints, length: int, held_out: int) -> int:
    """Periods at the end of `length` among which are the last `held_out` observed ones."""
    if held_out >= len(observed_P):
        return held_out
    return min(length - int(observed_P[-held_out]), MOST_REACH * held_out)


def scored_by_split(panel: Panel) -> Bools | None:
    """The split's test rows whose demand is known; None where it has none."""
    if panel.test_SP is None:
        return None
    scored_SP = panel.test_SP & np.isfinite(panel.demand_SP)
    return scored_SP if scored_SP.any() else None


def _split_task(panel: Panel, test_SP: Bools, horizon: int | None, memory: int) -> Task:
    """Every series ends where its own test rows begin; one without test rows, where its demand ends."""
    has = test_SP.any(1)
    begins_S = np.where(has, test_SP.argmax(1), 0)
    last_S = np.where(has, test_SP.shape[1] - 1 - test_SP[:, ::-1].argmax(1), 0)
    cut_S = np.where(has, panel.first + begins_S - 1, panel.end - 1)
    longest = int((last_S - begins_S + 1)[has].max())
    return Task(panel, panel.until(cut_S), cut_S, horizon or longest, 1, memory, test_SP)
