"""One self-contained page per training run: curve, metrics against baselines, item-frequency bins, notes, config."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from training.page import draw, image, svg, write_page

if TYPE_CHECKING:
    from training.jobs.job import Exhibit, FitResult

DRAWN = (
    "ndcg@10", "hr@10", "coverage@10", "tail_share@10",
    "recall@1", "map@10", "recall_iou50", "ap50", "auc", "gauc", "logloss", "ece", "wape", "mase", "smape",
)  # fmt: skip
MOST_PROBLEMS = 200


def write_report(result: FitResult, path: Path, *, job: str, config: BaseModel) -> Path:
    """Write the page of one run; it needs no other file and no network."""
    models = {**result.baselines, result.model: result.metrics}
    parts = [
        f"<h1>{escape(job)}: {escape(result.model)}</h1>",
        _facts(result),
        "<h2>Test metrics against baselines</h2>",
        _table(models, own=result.model),
        image("metrics on test", _bars(models)) if any(models.values()) else "",
        "<h2>Validation</h2>",
        _table({result.model: result.validation}, own=result.model),
        "<h2>Training</h2>",
        image("loss and validation by epoch", _curve(result.curve)) if result.curve else "<p>Nothing was trained.</p>",
        *(_exhibit(shown) for shown in result.exhibits),
        *(f"<h2>{escape(title)}</h2>{image(title, picture.encode())}" for title, picture in result.pictures.items()),
        ("<h2>By kind of series</h2>" if job == "forecaster" else "<h2>By training interactions of the item</h2>")
        if result.bins
        else "",
        image("ndcg@10 by item frequency", _bins(result.bins)) if _by_frequency(result.bins) else "",
        *(f"<h3>{escape(name)}</h3>{_table(bins)}" for name, bins in result.bins.items()),
        "<h2>Notes</h2>",
        "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in result.notes) + "</ul>",
        _problems(result.problems),
        "<h2>Config</h2>",
        f"<pre>{escape(json.dumps(config.model_dump(mode='json'), indent=1))}</pre>",
    ]
    return write_page(path, job, parts)


def _exhibit(shown: Exhibit) -> str:
    source = f"data:image/jpeg;base64,{shown.jpeg_base64}"
    return f'<h2>{escape(shown.title)}</h2><img alt="{escape(shown.title)}" src="{source}">'


def _problems(lines: Sequence[str]) -> str:
    """Every row that was left out, up to MOST_PROBLEMS."""
    if not lines:
        return ""
    more = [f"and {len(lines) - MOST_PROBLEMS:,} more"] if len(lines) > MOST_PROBLEMS else []
    rows = "".join(f"<li>{escape(line)}</li>" for line in (*lines[:MOST_PROBLEMS], *more))
    return f"<h2>Left out</h2><ul>{rows}</ul>"


def _facts(result: FitResult) -> str:
    return (
        f"<p>{result.train_seconds:.1f} s, {result.cpu_seconds:.1f} CPU-seconds, "
        f"{result.examples_per_second:,.0f} examples a second.</p>"
    )


def _table(rows: Mapping[str, Mapping[str, float]], own: str | None = None) -> str:
    """A row per name, a column per metric that any row has."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        f"<tr{' class=own' if name == own else ''}><td>{escape(name)}</td>"
        + "".join(f"<td>{_number(row.get(column))}</td>" for column in columns)
        + "</tr>"
        for name, row in rows.items()
    )
    return f"<table><tr><th></th>{head}</tr>{body}</table>"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 1 else f"{value:.4f}"


def _curve(curve: Sequence[Mapping[str, float]]) -> bytes:
    figure, axes = draw(2)
    epochs = [line["epoch"] for line in curve]
    judged = "ndcg@10" if any("ndcg@10" in line for line in curve) else "validation"
    for axis, name in zip(axes, ("loss", judged), strict=True):
        axis.plot(epochs, [line.get(name, float("nan")) for line in curve], marker=".")
        axis.set(title=f"{name} ({'training' if name == 'loss' else 'validation'})", xlabel="epoch")
    return svg(figure)


def _bars(models: Mapping[str, Mapping[str, float]]) -> bytes:
    known = dict.fromkeys(name for metrics in models.values() for name in metrics)
    names = [name for name in DRAWN if name in known][:4] or list(known)[:4]
    figure, axes = draw(len(names))
    for axis, name in zip(axes, names, strict=True):
        axis.barh(list(models), [metrics.get(name, 0.0) for metrics in models.values()])
        axis.set(title=name, yticks=range(len(models)), yticklabels=list(models) if axis is axes[0] else [])
    return svg(figure)


def _by_frequency(bins: Mapping[str, Mapping[str, Mapping[str, float]]]) -> bool:
    return any("ndcg@10" in metrics for table in bins.values() for metrics in table.values())


def _bins(bins: Mapping[str, Mapping[str, Mapping[str, float]]]) -> bytes:
    figure, (axis,) = draw(1)
    labels = list(dict.fromkeys(_labels(bins.values())))
    for name, by_bin in bins.items():
        axis.plot(labels, [by_bin.get(label, {}).get("ndcg@10", float("nan")) for label in labels], ".-", label=name)
    axis.set(title="test ndcg@10", xlabel="training interactions of the target item")
    axis.legend()
    return svg(figure)


def _labels(bins: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted(
        {label for by_bin in bins for label in by_bin}, key=lambda label: int(label.rstrip("+").split("-")[0])
    )
