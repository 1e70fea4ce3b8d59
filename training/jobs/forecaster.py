"""The forecaster job: every way to forecast behind one interface, a backtest that chooses for each group of series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from training.contracts.atomic import new_folder
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop
from training.features.calendar import country_of
from training.features.demand import Floats, Ints, Panel
from training.jobs.forecaster_backtest import ALL, Backtest, before_backtest, choose, earning, run_backtest
from training.jobs.forecaster_config import ForecasterConfig
from training.jobs.forecaster_evaluation import evaluate_bundle
from training.jobs.forecaster_fits import BACKTEST, FINAL, MemberFits
from training.jobs.forecaster_judging import Test, judge
from training.jobs.forecaster_levels import reconciled as reconciled_levels
from training.jobs.forecaster_panel import demand_panel
from training.jobs.forecaster_pictures import pictures
from training.jobs.forecaster_task import Task, scored_by_split, task_of
from training.jobs.job import FitResult, Job, Report
from training.jobs.workers import Workers
from training.models.demand.boosted import BoostedWithoutCovariates
from training.models.demand.cold_start import ColdStart
from training.models.demand.groups import Grouping
from training.models.demand.intervals import Intervals, error_scale
from training.models.demand.member import Fitting, blocks_here
from training.models.demand.simple import LastValue
from training.models.forecaster import ENSEMBLE, Forecaster, Plan

SLOW_SAMPLE = ("auto_ets", "theta")
FEW_SERIES, MANY_SERIES = 4_000, 20_000
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, kw_only=True)
class ForecasterData:
    """A shop as the forecaster sees it."""

    panel: Panel
    country: str | None
    notes: tuple[str, ...] = ()


def load(shop: Shop, config: ForecasterConfig) -> ForecasterData:
    """Raises InputError for a shop without sales, duplicate rows, mixed frequencies or a wrong covariates.yaml."""
    panel = demand_panel(shop, config)
    notes = list(_oddities(panel))
    notes += _held_out_otherwise(panel, config.origins)
    if panel.censored_SP is not None:
        notes.append(f"{int(panel.censored_SP.sum()):,} periods sold out: their demand is taken as censored")
    return ForecasterData(panel=panel, country=country_of(shop.info.currency, config.country), notes=tuple(notes))


def _held_out_otherwise(panel: Panel, origins: int) -> list[str]:
    """Where the test is another than its split or the setting would let expect."""
    if panel.test_SP is None:
        return []
    if scored_by_split(panel) is None:
        return [f"{int(panel.test_SP.sum()):,} rows of the split test have no demand: the last periods are held out"]
    return [f"the sales' split says what is held out: from one origin, not from {origins}"] if origins > 1 else []


def _oddities(panel: Panel) -> list[str]:
    """What a planner should know of the data, kept as it is."""
    negative, known = int((panel.demand_SP < 0).sum()), np.isfinite(panel.demand_SP)
    zero_S = known.any(1) & ~((panel.demand_SP != 0) & known).any(1)
    first_S = np.where(known.any(1), known.argmax(1), known.shape[1])
    last_S = known.shape[1] - known[:, ::-1].argmax(1)
    gaps = int((np.where(known.any(1), last_S - first_S, 0) - known.sum(1)).clip(0).sum())
    found = (
        (negative, "rows have negative demand (returns), kept as they are"),
        (gaps, "periods are missing inside series' histories; the last known value stands for them"),
        (int(zero_S.sum()), "series never sold anything"),
        (int((known.sum(1) < 4).sum()), "series have fewer than 4 observed periods"),
    )
    return [f"{count:,} {what}" for count, what in found if count]


def fit(
    config: ForecasterConfig, data: ForecasterData, report: Report, out: Path, *, progress: Progress = NoProgress()
) -> FitResult:
    """Backtest, choose by group, fit what was chosen, bundle it, judge it on the held-out periods.

    Rank 0 writes `out` and says how it went; the other ranks return an empty result.
    """
    workers = Workers()
    task = task_of(data.panel, config.horizon, config.origins)
    fitting, fits = _fitting(config, data, task, report, workers), MemberFits(report, workers)
    if workers.rank > 0:
        _assist(config, task, fitting, fits)
        return _empty_result(out)
    backtest = _backtest(config, task, fitting, fits, progress)
    names = _names(config, task)
    considered = earning(backtest, names, SLOW_SAMPLE) if len(task.panel) > MANY_SERIES else names
    forecaster = _assemble(task, fitting, backtest, names, considered, fits, progress)
    with new_folder(out, force=True) as folder:
        forecaster.save(folder)
    fitted_s, fitted_cpu_s = fits.spent()
    test = judge(forecaster, task, progress)
    control = _control(config, fitting, task, progress)
    levels, level_notes = _levels(task, fitting, backtest, forecaster, test)
    scores = dict(forecaster.backtest)
    return FitResult(
        folder=out,
        model=ENSEMBLE,
        metrics={**test.metrics, **levels},
        validation={name: value for name, value in scores.items() if name != "naive_wape"},
        baselines={**test.baselines, **control},
        train_seconds=fitted_s,
        cpu_seconds=fitted_cpu_s,
        examples_per_second=float(np.isfinite(task.visible.demand_SP).sum() / max(fitted_s, 1e-9)),
        notes=(
            *data.notes,
            *fits.said(),
            *_left_out(names, considered, len(task.panel)),
            *_said(forecaster, backtest, test),
            *level_notes,
        ),
        bins={name: dict(table) for name, table in test.by_group.items()},
        pictures=pictures(forecaster, task, test, control),
    )


def _empty_result(out: Path) -> FitResult:
    return FitResult(
        folder=out, model=ENSEMBLE, metrics={}, validation={}, baselines={}, train_seconds=0.0, cpu_seconds=0.0,
        examples_per_second=0.0,
    )  # fmt: skip


def _fitting(config: ForecasterConfig, data: ForecasterData, task: Task, report: Report, workers: Workers) -> Fitting:
    return Fitting(
        panel=task.visible, cut_S=task.cut_S, horizon=task.horizon, memory=task.memory, country=data.country,
        seed=config.seed, threads=config.threads, blocks=getattr(report, "blocks", blocks_here),
        rounds=config.rounds, epochs=config.epochs, partners=workers,
    )  # fmt: skip


def _names(config: ForecasterConfig, task: Task) -> list[str]:
    """The members that this panel gives something to learn from."""
    known = [name for name in task.panel.schema.named("known_future") if name in task.panel.covariates]
    left_out = {"price_regression"} if not known else set()
    left_out |= {"hybrid_network"} if not config.epochs else set()
    return [name for name in config.members if name not in left_out]


def _backtest_origins(config: ForecasterConfig, task: Task) -> int:
    return config.backtest_origins or int(np.clip(FEW_SERIES // len(task.panel), 3, 8))


def _backtest(config: ForecasterConfig, task: Task, fitting: Fitting, fits: MemberFits, progress: Progress) -> Backtest:
    return run_backtest(
        task, fitting, _names(config, task), partial(fits, BACKTEST), origins=_backtest_origins(config, task),
        slow=dict.fromkeys(SLOW_SAMPLE, config.sampled_series), progress=progress,
    )  # fmt: skip


def _assist(config: ForecasterConfig, task: Task, fitting: Fitting, fits: MemberFits) -> None:
    """What the ranks behind the first do: the same steps, in the same order."""
    names, early = _names(config, task), before_backtest(task, fitting, _backtest_origins(config, task))
    for name in names:
        fits.assist(name, early)
    for name in fits.agreed(names):
        fits.assist(name, fitting)


def _assemble(
    task: Task,
    fitting: Fitting,
    backtest: Backtest,
    names: Sequence[str],
    considered: Sequence[str],
    fits: MemberFits,
    progress: Progress,
) -> Forecaster:
    """`considered` may be chosen, of all `names` that were asked in the backtest."""
    informed = [name for name in considered if backtest.uses[name]]
    plan = Plan(chosen=choose(backtest, considered), informed=choose(backtest, informed) if informed else {})
    used = {name for table in (plan.chosen, plan.informed) for weights in table.values() for name in weights}
    members = {}
    for name in fits.agreed(names, list(used)):
        progress.stage(f"fitting {name}")
        members[name] = fits(FINAL, name, fitting)
    grouping = Grouping.of_horizon(task.horizon)
    intervals, scores = _calibrated(task, backtest, plan)
    return Forecaster(
        horizon=task.horizon, memory=task.memory, frequency=task.panel.frequency, covariates=task.panel.schema,
        quantiles=QUANTILES, members=members, plan=plan, grouping=grouping, intervals=intervals, panel=task.panel,
        cold_start=ColdStart.fit(task.window(task.cut_S)), backtest=scores,
        non_negative=not bool(np.nanmin(task.visible.demand_SP, initial=0.0) < 0),
    )  # fmt: skip


def _calibrated(task: Task, backtest: Backtest, plan: Plan) -> tuple[Intervals, dict[str, float]]:
    """Intervals from what the plan misses by in the backtest, and its scores there beside the last value's."""
    mean_RH = backtest.combined([plan.weights(group, informed=False) for group in backtest.groups])
    rows = np.arange(len(mean_RH))
    moments, horizon = task.backtest(len(mean_RH) // max(len(task.panel), 1))
    scale_RH = np.concatenate([
        error_scale(task.window(origin_S, horizon), np.nan_to_num(part_SH))
        for origin_S, part_SH in zip(moments, np.split(mean_RH, len(moments)), strict=True)
    ])  # fmt: skip
    errors_RH = np.full((len(rows), task.horizon), np.nan)
    errors_RH[:, :horizon] = (backtest.actual_RH - mean_RH) / scale_RH
    scores = backtest.judged(mean_RH, rows).scores()
    naive_RH = np.where(np.isfinite(mean_RH), _last_values(task, moments, horizon), np.nan)
    naive = backtest.judged(naive_RH, rows).scores()
    return Intervals.fit(task.horizon, backtest.groups, errors_RH), {**scores, "naive_wape": naive["wape"]}


def _control(config: ForecasterConfig, fitting: Fitting, task: Task, progress: Progress) -> dict[str, dict[str, float]]:
    """LightGBM with and without what is known ahead, on the test."""
    if (
        not config.covariate_control
        or not fitting.panel.schema.named("known_future")
        or "lightgbm" not in config.members
    ):
        return {}
    progress.stage("the same trees without known-future covariates")
    without = BoostedWithoutCovariates.fit(replace(fitting, covariates=False))
    return {without.name: Test.of_member(without, task)}


def _levels(
    task: Task, fitting: Fitting, backtest: Backtest, forecaster: Forecaster, test: Test
) -> tuple[dict[str, float], list[str]]:
    mean_RH = backtest.combined([forecaster.plan.weights(group, informed=False) for group in backtest.groups])
    return reconciled_levels(task, fitting, test, backtest.actual_RH - mean_RH, _last_values(task, task.test_origins()))


def _last_values(task: Task, moments: Sequence[Ints], horizon: int | None = None) -> Floats:
    """naive_RH of what was sold, origin by origin."""
    plain = task.for_baselines()
    return np.concatenate([LastValue().forecast(plain.window(origin_S, horizon)) for origin_S in moments])


def _left_out(names: Sequence[str], considered: Sequence[str], series: int) -> list[str]:
    dropped = [name for name in names if name not in considered]
    return [f"{', '.join(dropped)}: not chosen, {series:,} fits would gain under 1 %"] if dropped else []


def _said(forecaster: Forecaster, backtest: Backtest, test: Test) -> list[str]:
    """What was chosen for whom, and what it is worth at each level."""
    counts = {group: list(backtest.groups).count(group) for group in dict.fromkeys(backtest.groups)}
    lines = []
    for group, weights in forecaster.plan.chosen.items():
        mix = ", ".join(f"{name} {share:.0%}" for name, share in sorted(weights.items(), key=lambda one: -one[1]))
        lines.append(
            f"{'any other series' if group == ALL else f'{group} ({counts[group]:,} series x origins)'}: {mix}"
        )
    members = ", ".join(f"{name} {scores['wape']:.4f}" for name, scores in test.members.items())
    lines.append(f"test WAPE of the members alone: {members}")
    lines += [
        f"{name} cannot be fitted to {unfitted:,} series, which it answers by their recent median"
        for name, member in forecaster.members.items()
        if (unfitted := getattr(member, "unfitted", 0))
    ]
    if left_out := int(test.metrics.get("scale_0", 0)):
        lines.append(f"{left_out:,} series x origins have a naive error of 0 and are left out of MASE")
    return lines


JOB = Job(
    name="forecaster",
    config=ForecasterConfig,
    load=load,
    fit=fit,
    evaluate=evaluate_bundle,
    selection_metric="wape",
)
