"""The pictures of a forecaster's report: fans, errors, calibration, what covariates bought."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from training.jobs.forecaster_judging import Test
from training.jobs.forecaster_task import Task
from training.models.forecaster import Forecaster
from training.page import draw, svg

FANS, SHOWN_PERIODS = 3, 60
Scores = Mapping[str, Mapping[str, float]]


def pictures(forecaster: Forecaster, task: Task, test: Test, control: Scores) -> dict[str, str]:
    """SVG by title."""
    drawn = {
        "Forecast fans (80 and 50 %) of a small, a middling and a large series": _fans(forecaster, task),
        "Error by step ahead": _steps(test),
        "Error by kind of series": _groups(test),
        "Calibration of the quantiles": _calibration(test),
    }
    if control and "lightgbm" in test.members:
        drawn["What the covariates known ahead bought"] = _bought(test, control)
    return {title: svg(figure).decode() for title, figure in drawn.items()}


def _fans(forecaster: Forecaster, task: Task) -> Any:
    figure, axes = draw(FANS)
    total_S = np.nansum(np.abs(task.visible.demand_SP[:, -SHOWN_PERIODS:]), axis=1)
    rows = np.argsort(total_S, kind="stable")[[int(share * (len(total_S) - 1)) for share in (0.35, 0.7, 0.98)]]
    window = task.window(task.test_origins()[0]).take(rows)
    mean_SH, _ = forecaster.means(window, [False] * len(rows))
    fan_SQH = forecaster.quantiles_of(window, mean_SH, (0.1, 0.25, 0.75, 0.9))
    actual_SH = task.actual(task.test_origins()[0])[rows]
    ahead = np.arange(1, task.horizon + 1)
    for place, axis in enumerate(axes):
        history = window.demand_ST[place, -SHOWN_PERIODS:]
        axis.plot(np.arange(-len(history) + 1, 1), history, color="0.5", linewidth=0.9)
        axis.plot(ahead, actual_SH[place], color="black", linewidth=0.9, label="came")
        axis.plot(ahead, mean_SH[place], color="tab:blue", label="forecast")
        axis.fill_between(ahead, fan_SQH[place, 0], fan_SQH[place, 3], color="tab:blue", alpha=0.15, linewidth=0)
        axis.fill_between(ahead, fan_SQH[place, 1], fan_SQH[place, 2], color="tab:blue", alpha=0.25, linewidth=0)
        axis.set(title=window.series.series_id[place], xlabel="periods from the origin")
    axes[0].legend()
    return figure


def _steps(test: Test) -> Any:
    figure, (axis,) = draw(1)
    for name, wape_H in test.by_step.items():
        axis.plot(np.arange(1, len(wape_H) + 1), wape_H, marker=".", label=name)
    axis.set(xlabel="periods ahead", ylabel="WAPE", ylim=(0, None))
    axis.legend()
    return figure


def _groups(test: Test) -> Any:
    figure, (axis,) = draw(1)
    groups = list(test.by_group["ensemble"])
    width = 0.8 / len(test.by_group)
    for place, (name, table) in enumerate(test.by_group.items()):
        axis.bar(np.arange(len(groups)) + place * width, [table[group]["wape"] for group in groups], width, label=name)
    axis.set(ylabel="WAPE", xticks=np.arange(len(groups)) + 0.4, xticklabels=groups)
    axis.legend()
    return figure


def _calibration(test: Test) -> Any:
    figure, (axis,) = draw(1)
    axis.plot([0, 1], [0, 1], color="0.7")
    axis.plot(list(test.reached), list(test.reached.values()), marker="o")
    axis.set(xlabel="quantile asked for", ylabel="share at or below it")
    return figure


def _bought(test: Test, control: Scores) -> Any:
    figure, (axis,) = draw(1)
    shown = {"LightGBM": test.members["lightgbm"], "the same without": next(iter(control.values()))}
    axis.barh(list(shown), [scores["wape"] for scores in shown.values()])
    axis.set(xlabel="WAPE on test")
    return figure
