"""`shopkeeper train`: from a shop's tables to a published bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.home import home
from cluster.output import Output, command

if TYPE_CHECKING:
    from training.bundles.manifest import Manifest
    from training.jobs.job import FitResult


@command
def train(
    output: Output,
    job: Annotated[str, typer.Argument(help="What to train: recommender, ranker, vision or forecaster.")],
    data: Annotated[Path, typer.Option(help="The shop folder.")],
    config: Annotated[Path | None, typer.Option(help="A YAML file; see configs/training.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="One setting, e.g. epochs=5; repeatable.")] = None,
    workers: Annotated[int, typer.Option(min=0, max=1024, help="Ray Train workers; 0 trains in this process.")] = 1,
    gpu: Annotated[bool, typer.Option("--gpu", help="One GPU per worker.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget an unfinished run of the same config.")] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that chance decides.")] = None,
) -> None:
    """Train a job on a shop, evaluate it on the held-out split, publish it as candidate.

    The ranker stands on the shop's recommender, which is trained first where there is none.
    An unfinished run of the same config goes on where it stopped. The first bundle of a shop becomes its champion.

    Example: shopkeeper train recommender --data shops/beauty --set epochs=30
    """
    from cluster.checked_shop import open_checked
    from cluster.job_config import load_config
    from cluster.jobs import find_job
    from cluster.training_run import TrainingRun
    from cluster.upstream import with_upstream

    found = find_job(job)
    settings = load_config(found.config, file=config, settings=set_ or [], seed=seed)
    shop = open_checked(data, progress=output.progress)
    settings = with_upstream(home(), found, shop, settings, workers=workers, gpu=gpu, progress=output.progress)
    run = TrainingRun(home(), found, shop, settings)
    try:
        result, manifest, report = run.execute(workers=workers, gpu=gpu, fresh=fresh, progress=output.progress)
    except (KeyboardInterrupt, SystemExit):
        output.say("interrupted; what was learnt up to the last checkpoint is kept: the same command goes on from it")
        raise
    output.answer(
        {
            "job": job, "version": manifest.version, "model": result.model, "metrics": result.metrics,
            "validation": result.validation, "baselines": result.baselines, "train_seconds": result.train_seconds,
            "cpu_seconds": result.cpu_seconds, "examples_per_second": result.examples_per_second,
            "notes": list(result.notes), "report": str(report),
        },
        _text(result, manifest, report),
    )  # fmt: skip


def _text(result: FitResult, manifest: Manifest, report: Path) -> str:
    rows = {
        result.model: result.metrics,
        **{name: row for name, row in result.baselines.items() if name != result.model},
    }
    notes = "".join(f"\n  {note}" for note in result.notes)
    return (
        f"{manifest.job} {manifest.version} ({result.model}) in {result.train_seconds:.0f} s, "
        f"{result.cpu_seconds:.0f} CPU-s\n{metrics_text(rows)}{notes}\nreport: {report}"
    )


def metrics_text(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Models below one another, metrics beside one another."""
    names = list(dict.fromkeys(name for metrics in rows.values() for name in metrics))
    width = max(len(model) for model in rows)
    header = " " * width + "".join(f"  {name:>13}" for name in names)
    lines = [
        f"{model:<{width}}" + "".join(f"  {metrics.get(name, float('nan')):>13.4f}" for name in names)
        for model, metrics in rows.items()
    ]
    return "\n".join([header, *lines])
