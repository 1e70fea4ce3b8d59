"""The held-out judgement of a forecaster: its own scores, its baselines', its members', by group and step ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.contracts.progress import Progress
from training.features.demand import Floats, Ints
from training.jobs.forecaster_task import Task
from training.models.demand.groups import rows_of
from training.models.demand.member import Member
from training.models.demand.scores import LEVELS, Judged, level_wapes, naive_error
from training.models.demand.simple import LastValue, Median26, SeasonalNaive
from training.models.forecaster import Forecaster


@dataclass(frozen=True, kw_only=True)
class Test:
    """What the test showed; by_group[model][group]; by_step[model] is WAPE by step ahead, [H]."""

    __test__ = False

    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    members: dict[str, dict[str, float]]
    by_group: Mapping[str, Mapping[str, dict[str, float]]]
    by_step: Mapping[str, Floats]
    reached: dict[float, float]
    """Level -> share of what came that lay at or below it."""
    judged: Judged
    series_R: Ints
    origin_R: Ints

    @staticmethod
    def of_member(member: Member, task: Task) -> dict[str, float]:
        """The scores of one member alone on the test."""
        mean_RH = np.concatenate([member.forecast(task.window(origin_S)) for origin_S in task.test_origins()])
        actual_RH, naive_R = _came(task)
        rows_R = np.tile(np.arange(len(task.panel)), task.origins)
        return {
            **Judged(actual_RH, mean_RH, naive_R).scores(),
            **level_wapes(task.panel, actual_RH, mean_RH, rows_R),
        }


def _came(task: Task) -> tuple[Floats, Floats]:
    """actual_RH and naive_R, origin by origin."""
    actual = np.concatenate([task.actual(origin_S) for origin_S in task.test_origins()])
    return actual, np.concatenate([naive_error(task.panel, origin_S) for origin_S in task.test_origins()])


def judge(forecaster: Forecaster, task: Task, progress: Progress) -> Test:
    """Forecast from every origin of the test with what was known there."""
    actual_RH, naive_R = _came(task)
    progress.stage("evaluation on test", task.origins)
    plain = task.for_baselines()
    means, quantiles, groups = [], [], []
    members: dict[str, list[Floats]] = {name: [] for name in forecaster.members}
    baselines: dict[str, Member] = {rule.name: rule for rule in (LastValue(), SeasonalNaive(), Median26())}
    ruled: dict[str, list[Floats]] = {name: [] for name in baselines}
    levels = (*LEVELS, *(level for level in (0.05, 0.25, 0.75, 0.95)))
    order = tuple(sorted(levels))
    for origin_S in task.test_origins():
        window = task.window(origin_S)
        seen = plain.window(origin_S)
        mean_SH, _ = forecaster.means(window, [False] * len(window))
        mean_SH[~np.isfinite(window.demand_ST).any(1)] = 0.0  # by the contract's definition of the metrics
        means.append(mean_SH)
        quantiles.append(forecaster.quantiles_of(window, mean_SH, order))
        groups += forecaster.grouping.of(window)
        for name, member in forecaster.members.items():
            members[name].append(member.forecast(window))
        for name, rule in baselines.items():
            ruled[name].append(rule.forecast(seen))
        progress.advance()
    series_R = np.tile(np.arange(len(task.panel)), task.origins)
    all_levels_RQH = np.concatenate(quantiles)
    eighty = [order.index(level) for level in LEVELS]
    own = Judged(actual_RH, np.concatenate(means), naive_R, all_levels_RQH[:, eighty])

    def whole(judged: Judged) -> dict[str, float]:
        return {**judged.scores(), **level_wapes(task.panel, actual_RH, judged.mean_RH, series_R)}

    def judged(parts: Mapping[str, list[Floats]]) -> dict[str, Judged]:
        return {name: Judged(actual_RH, np.concatenate(said), naive_R) for name, said in parts.items()}

    compared = judged(ruled)
    return Test(
        metrics=whole(own),
        baselines={name: whole(one) for name, one in compared.items()},
        members={name: one.scores() for name, one in judged(members).items()},
        by_group=_by_group({"ensemble": own, **compared}, groups),
        by_step={name: _by_step(one) for name, one in {"ensemble": own, **compared}.items()},
        reached={
            level: float((actual_RH <= all_levels_RQH[:, place])[np.isfinite(actual_RH)].mean())
            for place, level in enumerate(order)
        },
        judged=own,
        series_R=series_R,
        origin_R=np.concatenate(task.test_origins()),
    )


def _by_group(judgements: Mapping[str, Judged], groups: list[str]) -> dict[str, dict[str, dict[str, float]]]:
    out: dict[str, dict[str, dict[str, float]]] = {}
    for name, judged in judgements.items():
        for group, rows in rows_of(groups).items():
            quantiles = None if judged.quantiles_RQH is None else judged.quantiles_RQH[rows]
            part = Judged(judged.actual_RH[rows], judged.mean_RH[rows], judged.naive_R[rows], quantiles)
            if np.isfinite(part.actual_RH).any():
                out.setdefault(name, {})[group] = part.scores()
    return out


def _by_step(judged: Judged) -> Floats:
    known = np.isfinite(judged.actual_RH)
    error_RH = np.where(known, np.abs(judged.actual_RH - judged.mean_RH), 0.0)
    total_H = np.where(known, np.abs(judged.actual_RH), 0.0).sum(0)
    return np.asarray(error_RH.sum(0) / np.maximum(total_H, 1e-12))
