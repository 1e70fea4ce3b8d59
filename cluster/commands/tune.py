"""`shopkeeper tune`: the settings of a job that suit a shop, searched by Ray Tune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.home import home
from cluster.output import Output, command

if TYPE_CHECKING:
    from tuning.config import StudyConfig

SHIPPED = Path(__file__).parents[2] / "configs" / "tuning"


@command
def tune(
    output: Output,
    job: Annotated[str, typer.Argument(help="What to tune: recommender, ranker or vision.")],
    data: Annotated[Path, typer.Option(help="The shop folder.")],
    config: Annotated[Path | None, typer.Option(help="A YAML file; by default that of JOB in configs/tuning.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="How many settings to try.")] = None,
    parallel: Annotated[int | None, typer.Option(min=1, help="Trials at a time; at most one a processor.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the search and of every trial.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the trials of the same study.")] = False,
) -> None:
    """Search the settings of a job on a shop; the best is trained whole and published as candidate.

    An unfinished study of the same settings goes on with the trials it has. Nothing is promoted.

    Example: shopkeeper tune recommender --data shops/beauty --trials 16
    """
    from cluster.checked_shop import open_checked
    from cluster.jobs import find_job
    from cluster.tuning_run import TuningRun, on_champions

    found = find_job(job)
    settings = {"trials": trials, "parallel": parallel}
    study = _study(job, config, [f"{name}={value}" for name, value in settings.items() if value is not None], seed)
    shop = open_checked(data, progress=output.progress)
    run = TuningRun(home(), found, shop, on_champions(study, found, home(), shop.info.shop_id))
    try:
        told = run.execute(fresh=fresh, progress=output.progress)
    except (KeyboardInterrupt, SystemExit):
        output.say(f"interrupted with {run.trials_over()} of {study.trials} trials over; the same command goes on")
        raise
    output.answer(told, _text(told))


def _study(job: str, file: Path | None, settings: list[str], seed: int | None) -> StudyConfig:
    """Raises InputError naming file, field, what was found and what is allowed."""
    from cluster.job_config import load_config
    from training.contracts.errors import InputError, Problem
    from tuning.config import StudyConfig
    from tuning.space import check

    chosen = file or SHIPPED / f"{job}.yaml"
    if file is None and not chosen.is_file():
        raise InputError(Problem(field="--config", problem=f"no search space for {job} is shipped: give one"))
    study = load_config(StudyConfig, file=chosen, settings=settings, seed=seed)
    if study.job != job:
        raise InputError(
            Problem(file=str(chosen), field="job", problem="is for another job", found=study.job, allowed=job)
        )
    check(study, file=str(chosen))
    return study


def _text(told: dict[str, Any]) -> str:
    from cluster.commands.train import metrics_text

    best = told["best"]
    rows = {"tuned": best["metrics"], **best["baselines"]}
    failed = "".join(f"\n  failed: {count} x {problem}" for problem, count in told["problems"].items())
    settings = "".join(f"\n  {name}: {value}" for name, value in best["values"].items())
    return (
        f"{told['study']}: {len(told['trials'])} trials, best {told['metric']} of validation {best['score']:.4f} in "
        f"trial {best['trial']}{settings}{failed}\npublished as candidate {best['version']}\n{metrics_text(rows)}\n"
        f"config: {told['config_file']}\nreport: {told['report']}"
    )
