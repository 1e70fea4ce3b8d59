"""Rolling origins inside the training weeks: members are fitted before the first, judged on all, chosen by group.

The weights of a group are found by greedy selection with replacement (Caruana et al. 2004), which overfits little and
leaves out whoever adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.contracts.progress import Progress
from training.features.demand import Floats, Ints
from training.jobs.forecaster_task import Task
from training.models.demand.groups import Grouping
from training.models.demand.member import Fitting, Member
from training.models.demand.scores import Judged, naive_error

ROUNDS, LEAST_SERIES, PRIOR_SERIES, LEAST_SHARE, SIMPLER = 10, 15, 30, 0.05, 0.998
EARNED = 0.99
ALL = "all"
FitMember = Callable[[str, Fitting], Member]


@dataclass(frozen=True)
class Backtest:
    """forecasts[name] and actual are [R, H], a row a series and origin; nan where a slow member was not asked."""

    forecasts: Mapping[str, Floats]
    actual_RH: Floats
    naive_R: Floats
    groups: Sequence[str]
    series_R: Ints
    uses: Mapping[str, frozenset[str]]
    horizon: int

    def judged(self, mean_RH: Floats, rows: np.ndarray) -> Judged:
        known_RH = np.where(np.isfinite(mean_RH[rows]), self.actual_RH[rows], np.nan)
        return Judged(known_RH, np.nan_to_num(mean_RH[rows]), self.naive_R[rows])

    def combined(self, weights: Sequence[Mapping[str, float]]) -> Floats:
        """mean_RH of each row's weights; nan where one of its members was not asked."""
        mean_RH = np.zeros_like(self.actual_RH)
        for name, forecast_RH in self.forecasts.items():
            share_R = np.array([row.get(name, 0.0) for row in weights])
            rows = np.flatnonzero(share_R)
            mean_RH[rows] += share_R[rows, None] * forecast_RH[rows]
        return mean_RH


def run_backtest(
    task: Task, fitting: Fitting, names: Sequence[str], fit: FitMember, *, origins: int, slow: Mapping[str, int],
    progress: Progress,
) -> Backtest:  # fmt: skip
    """`slow[name]` series at most are asked of a slow member: a stratified sample."""
    moments, horizon = task.backtest(origins)
    early = before_backtest(task, fitting, origins)
    windows = [task.window(origin_S, horizon) for origin_S in moments]
    grouping = Grouping.of_horizon(task.horizon)
    groups = [name for window in windows for name in grouping.of(window)]
    series_R = np.tile(np.arange(len(task.panel)), len(moments))
    forecasts, uses = {}, {}
    for name in names:
        rows = _sample(grouping.of(windows[0]), slow.get(name), fitting.seed)
        progress.stage(f"backtest: {name} on {len(rows):,} series")
        asked = early if len(rows) == len(task.panel) else _of_rows(early, rows)
        member = fit(name, asked)
        parts = []
        for window in windows:
            part_SH = np.full((len(window), horizon), np.nan)
            part_SH[rows] = member.forecast(window.take(rows))
            parts.append(part_SH)
        forecasts[name], uses[name] = np.concatenate(parts), member.uses
    actual_RH = np.concatenate([task.visible.actual(origin_S, horizon) for origin_S in moments])
    naive_R = np.concatenate([naive_error(task.visible, origin_S) for origin_S in moments])
    return Backtest(forecasts, actual_RH, naive_R, groups, series_R, uses, horizon)


def before_backtest(task: Task, fitting: Fitting, origins: int) -> Fitting:
    """What members are fitted on whom the backtest judges."""
    moments, horizon = task.backtest(origins)
    return replace(fitting, panel=task.visible.until(moments[0]), cut_S=moments[0], horizon=horizon)


def _of_rows(fitting: Fitting, rows: Ints) -> Fitting:
    return replace(fitting, panel=fitting.panel.take(rows), cut_S=fitting.cut_S[rows])


def _sample(groups: Sequence[str], most: int | None, seed: int) -> Ints:
    """Rows from every group in proportion, all where there are few."""
    if most is None or len(groups) <= most:
        return np.arange(len(groups))
    rng, names = np.random.default_rng(seed), np.array(groups, dtype=object)
    chosen = [
        rng.choice(rows, max(1, round(most * len(rows) / len(groups))), replace=False)
        for name in dict.fromkeys(groups)
        if len(rows := np.flatnonzero(names == name))
    ]
    return np.sort(np.concatenate(chosen))


def earning(backtest: Backtest, names: Sequence[str], slow: Collection[str]) -> list[str]:
    """`names`, without the slow ones where the best mixture gains less than 1 - EARNED by them.

    A slow member that is used is fitted to every series; judged on the series that were asked of all.
    """
    quick = [name for name in names if name not in slow]
    asked = [np.isfinite(backtest.forecasts[name]).all(1) for name in names]
    rows = np.flatnonzero(np.all([np.isfinite(backtest.actual_RH).any(1), *asked], axis=0))
    if not quick or not len(rows):
        return list(names)
    _, least = _greedy(backtest, names, rows)
    _, without = _greedy(backtest, quick, rows, reference=names[0])
    return list(names) if least < EARNED * without else quick


def choose(backtest: Backtest, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Weights by group of series, and of all of them together for groups that the backtest saw too little of."""
    groups = np.array(backtest.groups, dtype=object)
    known_R = np.isfinite(backtest.actual_RH).sum(1)
    chosen = {ALL: _greedy(backtest, names, np.flatnonzero(known_R))[0]}
    for group in dict.fromkeys(backtest.groups):
        rows = np.flatnonzero((groups == group) & (known_R > 0))
        series = len(np.unique(backtest.series_R[rows]))
        if series >= LEAST_SERIES:
            own = series / (series + PRIOR_SERIES)
            chosen[group] = _mixed(_greedy(backtest, names, rows)[0], chosen[ALL], own)
    return chosen


def _mixed(weights: Mapping[str, float], common: Mapping[str, float], own: float) -> dict[str, float]:
    """A small group's weights drawn to everybody's; shares too small to matter are dropped."""
    mixed = {name: own * weights.get(name, 0.0) + (1 - own) * common.get(name, 0.0) for name in {**weights, **common}}
    kept = {name: share for name, share in mixed.items() if share >= LEAST_SHARE}
    return {name: share / sum(kept.values()) for name, share in kept.items()}


def _greedy(
    backtest: Backtest, names: Sequence[str], rows: np.ndarray, *, reference: str | None = None
) -> tuple[dict[str, float], float]:
    """Members added one by one, with replacement; the best of all mixtures met, on rows that all were asked for.

    And its loss, relative to that of `reference`, by default the first name.
    """
    usable = [name for name in names if np.isfinite(backtest.forecasts[name][rows]).any()]
    together = np.all([np.isfinite(backtest.forecasts[name][rows]).all(1) for name in usable], axis=0)
    rows = rows[together] if together.any() else rows
    if not len(rows) or not usable:
        return {names[0]: 1.0}, 1.0
    beside = backtest.judged(np.nan_to_num(backtest.forecasts[reference or names[0]]), rows).scores()
    counts, total_RH = dict.fromkeys(usable, 0), np.zeros((len(rows), backtest.actual_RH.shape[1]))
    actual, found = Judged(backtest.actual_RH[rows], total_RH, backtest.naive_R[rows]), []
    for step in range(1, ROUNDS + 1):
        losses = {
            name: loss(replace(actual, mean_RH=(total_RH + backtest.forecasts[name][rows]) / step), beside)
            for name in usable
        }
        name = min(losses, key=lambda one: losses[one])
        total_RH = total_RH + backtest.forecasts[name][rows]
        counts[name] += 1
        found.append((losses[name], step, dict(counts)))
    simplest, least = found[0], min(found, key=lambda one: one[0])
    reached, added, best = simplest if simplest[0] * SIMPLER <= least[0] else least
    return {name: count / added for name, count in best.items() if count}, reached


def loss(judged: Judged, reference: Mapping[str, float]) -> float:
    """WAPE, and the mean of sMAPE and MASE, each relative to the reference's, in equal parts."""
    scores = judged.scores()
    parts = {name: scores[name] / max(reference[name], 1e-9) for name in ("wape", "smape", "mase")}
    return 0.5 * parts["wape"] + 0.25 * (parts["smape"] + parts["mase"])
