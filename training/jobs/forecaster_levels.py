"""Forecasts of the sums above the series, reconciled with theirs, and what that is worth at each level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.features.demand import Floats, Ints
from training.jobs.forecaster_judging import Test
from training.jobs.forecaster_task import Task
from training.models.demand.hierarchy import Hierarchy
from training.models.demand.member import Fitting
from training.models.demand.seasonal_mean import SeasonalMean


def reconciled(
    task: Task, fitting: Fitting, test: Test, errors_RH: Floats, naive: Floats
) -> tuple[dict[str, float], list[str]]:
    """WAPE by level with MinT over the first test origin to the last, beside the plain sums' and the last value's.

    errors_RH are the series' errors in the backtest, origin by origin: they and the sums' own weigh the levels.
    """
    hierarchy = Hierarchy.of(task.panel.series)
    if len(hierarchy.nodes) < 2:
        return {}, []
    cuts = _cuts(task)
    if len(cuts) > 1:
        return {}, ["the series are held out from different periods on: no sums above them are forecast"]
    cut_N = np.full(len(hierarchy.nodes), cuts[0])
    upper = replace(task, panel=hierarchy.panel(task.panel), visible=hierarchy.panel(task.visible).until(cut_N),
                    cut_S=cut_N, held_out_SP=None)  # fmt: skip
    variance_S = _variance(errors_RH.reshape(-1, len(task.panel), errors_RH.shape[1]).transpose(1, 0, 2))
    variance_N = _upper_variance(upper, fitting)
    rule = SeasonalMean.fit(replace(fitting, panel=upper.visible, cut_S=upper.cut_S))
    own_parts = np.split(test.judged.mean_RH, task.origins)
    naive_parts = np.split(naive, task.origins)
    told: dict[str, list[Floats]] = {"plain": [], "reconciled": [], "naive": [], "actual": [], "series": []}
    worst = 0.0
    for place, origin_S in enumerate(task.test_origins()):
        actual_SH = task.actual(origin_S)
        known_SH = np.isfinite(actual_SH)
        said_NH = rule.forecast(upper.window(cut_N + place))
        fixed_SH, sums_NH = hierarchy.reconcile(own_parts[place], said_NH, variance_S, variance_N)
        worst = max(worst, float(np.abs(hierarchy.sums(fixed_SH) - sums_NH).max()))
        told["series"].append(np.where(known_SH, np.abs(fixed_SH - actual_SH), 0.0))
        for name, values_SH in (("plain", own_parts[place]), ("reconciled", fixed_SH), ("naive", naive_parts[place]),
                                ("actual", actual_SH)):  # fmt: skip
            told[name].append(hierarchy.sums(np.where(known_SH, values_SH, 0.0)))
    return _scores(hierarchy, told, test, worst)


def _cuts(task: Task) -> Ints:
    """The last periods before what may be scored, those of series of which nothing may left out."""
    scored_S = np.isfinite(task.actual(task.cut_S)).any(1)
    return np.unique(task.cut_S[scored_S]) if scored_S.any() else np.unique(task.cut_S)


def _scores(
    hierarchy: Hierarchy, told: dict[str, list[Floats]], test: Test, worst: float
) -> tuple[dict[str, float], list[str]]:
    actual_NX = np.concatenate(told["actual"], axis=1)
    size = float(np.nansum(np.abs(test.judged.actual_RH)))
    own = float(sum(part.sum() for part in told["series"])) / max(size, 1e-12)
    metrics, lines = {"wape_reconciled": own}, [f"MinT: WAPE of the series {own:.4f}; sums agree within {worst:.1e}"]
    for level, nodes in hierarchy.by_level().items():
        scale = max(float(np.abs(actual_NX[nodes]).sum()), 1e-12)
        wapes = {
            name: float(np.abs(np.concatenate(told[name], axis=1)[nodes] - actual_NX[nodes]).sum()) / scale
            for name in ("reconciled", "plain", "naive")
        }
        metrics[f"wape_{level}_reconciled"] = wapes["reconciled"]
        lines.append(
            f"WAPE at level {level}: reconciled {wapes['reconciled']:.4f}, summed {wapes['plain']:.4f}, "
            f"last value {wapes['naive']:.4f}"
        )
    return metrics, lines


def _upper_variance(upper: Task, fitting: Fitting) -> Floats:
    """Of the sums' own forecasts at the backtest's first origin."""
    moments, horizon = upper.backtest(1)
    early = replace(fitting, panel=upper.visible.until(moments[0]), cut_S=moments[0], horizon=horizon)
    said_NH = SeasonalMean.fit(early).forecast(upper.window(moments[0], horizon))
    return _variance((upper.visible.actual(moments[0], horizon) - said_NH)[:, None, :])


def _variance(errors_SOH: Floats) -> Floats:
    """Mean square error of each row over origins and steps; the mean of the others' where a row has none."""
    known = np.isfinite(errors_SOH)
    count_S: Ints = known.sum((1, 2))
    square_S = np.where(known, errors_SOH, 0.0) ** 2
    mean_S = square_S.sum((1, 2)) / np.maximum(count_S, 1)
    told = count_S > 0
    return np.asarray(np.where(told, mean_S, mean_S[told].mean() if told.any() else 1.0))
