"""The page of a study: its best trial, how it was found, every trial, and what each setting did."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml

from training.page import draw, image, svg, write_page
from tuning.config import Dimension, StudyConfig
from tuning.results import Outcomes, TrialOutcome, best_of, problems

PANELS_PER_ROW = 3


def write_report(
    path: Path,
    *,
    title: str,
    study: StudyConfig,
    metric: str,
    outcomes: Outcomes,
    best_config: str,
    importances: Mapping[str, float],
    published: Mapping[str, Any],
) -> Path:
    """Write the page; it needs no other file and no network.

    `best_config` is YAML; `published` says what became of the best trial, name by name.
    """
    best = best_of(outcomes, study.mode)
    scored = [outcome for outcome in outcomes if outcome.score is not None]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(_summary(outcomes, metric, best))}</p>",
        _table([{"": name, "value": value} for name, value in published.items()]),
        "<h2>The best config</h2>",
        f"<pre>{escape(best_config)}</pre>",
        "<h2>Best so far</h2>",
        image(f"best {metric} of validation so far by trial", _progress(scored, study.mode, metric)) if scored else "",
        "<h2>Settings against the score</h2>",
        *(image(", ".join(names), _scatter(study, names, scored, metric)) for names in _rows(list(study.space))),
        _importance_part(importances),
        "<h2>Trials</h2>",
        _table([_row(outcome, metric) for outcome in outcomes], own=None if best is None else str(best.trial)),
        _problem_part(outcomes),
        "<h2>Study</h2>",
        f"<pre>{escape(yaml.safe_dump(study.model_dump(mode='json'), sort_keys=False))}</pre>",
    ]
    return write_page(path, title, parts)


def _summary(outcomes: Outcomes, metric: str, best: TrialOutcome | None) -> str:
    count = {status: sum(outcome.status == status for outcome in outcomes) for status in ("stopped", "failed")}
    said = f"{len(outcomes)} trials, {count['stopped']} of them stopped early, {count['failed']} failed"
    return said if best is None else f"{said}; best {metric} of validation {best.score:.4f} in trial {best.trial}"


def _row(outcome: TrialOutcome, metric: str) -> dict[str, Any]:
    return {
        "trial": outcome.trial, metric: outcome.score, "status": outcome.status, "epochs": outcome.epochs,
        "seconds": outcome.seconds, **outcome.values,
    }  # fmt: skip


def _table(rows: Sequence[Mapping[str, Any]], own: str | None = None) -> str:
    """A line per row, under the names of the first; `own` is the first cell of the row that stands out."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    lines = [[_cell(value) for value in row.values()] for row in rows]
    body = "".join(
        f"<tr{' class=own' if line[0] == own else ''}>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>"
        for line in lines
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _progress(scored: Outcomes, mode: str, metric: str) -> bytes:
    figure, (axis,) = draw(1)
    trials, scores = [outcome.trial for outcome in scored], [outcome.score or 0.0 for outcome in scored]
    axis.plot(trials, scores, ".", label="trial")
    axis.step(trials, list(itertools.accumulate(scores, max if mode == "max" else min)), where="post", label="best")
    axis.set(xlabel="trial", title=f"{metric} (validation)")
    axis.legend()
    return svg(figure)


def _rows(names: list[str]) -> list[list[str]]:
    return [names[start : start + PANELS_PER_ROW] for start in range(0, len(names), PANELS_PER_ROW)]


def _scatter(study: StudyConfig, names: Sequence[str], scored: Outcomes, metric: str) -> bytes:
    figure, axes = draw(PANELS_PER_ROW)
    for axis, name in zip(axes, names, strict=False):
        dimension = study.space[name]
        values = [_drawable(dimension, outcome.values.get(name)) for outcome in scored]
        axis.plot(values, [outcome.score or math.nan for outcome in scored], ".")
        axis.set(title=name, xscale="log" if dimension.log else "linear")
        if dimension.choices is not None:
            axis.set(xticks=range(len(dimension.choices)), xticklabels=[str(choice) for choice in dimension.choices])
    axes[0].set(ylabel=metric)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    return svg(figure)


def _drawable(dimension: Dimension, value: Any) -> float:
    """Where a value stands on its axis; a choice stands at its place in the list."""
    return float(value) if dimension.choices is None else float(dimension.choices.index(value))


def _importance_part(importances: Mapping[str, float]) -> str:
    if not importances:
        return "<p>Too few scores to say what mattered.</p>"
    figure, (axis,) = draw(1)
    axis.barh(list(importances)[::-1], list(importances.values())[::-1])
    axis.set(title="share of the score's variation (PED-ANOVA)")
    return image("importance of the settings", svg(figure))


def _problem_part(outcomes: Outcomes) -> str:
    failed = problems(outcomes)
    if not failed:
        return ""
    lines = "".join(f"<li>{count} x {escape(problem)}</li>" for problem, count in failed.items())
    return f"<h2>Why trials failed</h2><ul>{lines}</ul>"
