"""The one wrapper that runs a study on Ray Tune: Optuna's TPE proposes, ASHA stops early, trials run a job's `fit`."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from training.contracts.shop import Shop
from training.jobs.ray_train import root_cause
from training.jobs.registry import JOBS
from tuning.config import StudyConfig
from tuning.importance import distributions
from tuning.results import RAY_FOLDER, TRIALS_FILE, Status, TrialOutcome, load, save
from tuning.space import value_at
from tuning.trial import EPOCH, FINISHED, LOW_PRIORITY, SCORE, TrialReport, run_trial, trial_config

CPUS_PER_TRIAL = 0.5
"""What a trial asks of a cluster: beside serving two cores have no more; `parallel` bounds the trials instead."""
SETTINGS = {
    "TUNE_GLOBAL_CHECKPOINT_S": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}
"""A killed study loses a second at most; Ctrl-C reaches the caller; nothing is printed."""


def run_study(study: StudyConfig, *, metric: str, shop: Shop, folder: Path, beside_serving: bool) -> None:
    """Run the study that `folder` holds to its end, or begin it; TRIALS_FILE there says how far it is.

    Trials that were under way when it was killed go on from their checkpoints. The shop and the folder must be
    readable from every node. A resumed study keeps the number of trials at a time that it began with.
    """
    os.environ.update(SETTINGS)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    settings = {"study": study.model_dump(mode="json"), "metric": metric, "shop": str(shop.path.absolute())}
    trainable = tune.with_resources(partial(_trial, settings=settings), {"cpu": CPUS_PER_TRIAL})
    experiment = folder / RAY_FOLDER
    if tune.Tuner.can_restore(str(experiment)):
        tuner = tune.Tuner.restore(str(experiment), trainable=trainable, resume_unfinished=True)
    else:
        tune_config = _tune_config(study, _parallel(study, beside_serving=beside_serving))
        tuner = tune.Tuner(trainable, tune_config=tune_config, run_config=_run_config(folder))
    tuner.fit()


def _parallel(study: StudyConfig, *, beside_serving: bool) -> int:
    """Trials at a time: never more than the cluster has processors."""
    cpus = max(int(ray.cluster_resources().get("CPU", 1)), 1)
    return min(study.parallel or (1 if beside_serving else cpus), cpus)


def _tune_config(study: StudyConfig, parallel: int) -> tune.TuneConfig:
    return tune.TuneConfig(
        metric=SCORE,
        mode=study.mode,
        search_alg=_search(study, parallel),
        scheduler=ASHAScheduler(
            time_attr=EPOCH,
            max_t=study.max_epochs,
            grace_period=study.grace_period,
            reduction_factor=study.reduction_factor,
        ),
        num_samples=study.trials,
        max_concurrent_trials=parallel,
        time_budget_s=study.time_budget_s,
        reuse_actors=True,
        trial_dirname_creator=_trial_name,
    )


def _run_config(folder: Path) -> tune.RunConfig:
    return tune.RunConfig(
        name=RAY_FOLDER,
        storage_path=str(folder.absolute()),
        checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
        failure_config=tune.FailureConfig(max_failures=0),
        callbacks=[TrialsFile(folder.absolute() / TRIALS_FILE)],
        verbose=0,
    )


def _search(study: StudyConfig, parallel: int) -> OptunaSearch:
    """The first trial is the base itself where the space holds it: the best is then never worse."""
    model = JOBS[study.job].config
    sampler = optuna.samplers.TPESampler(
        seed=study.seed, n_startup_trials=max(4, study.trials // 4), constant_liar=parallel > 1
    )
    base = model.model_validate(study.base)
    start = {name: value_at(base, name) for name in study.space}
    held = all(dimension.holds(start[name]) for name, dimension in study.space.items())
    return OptunaSearch(
        space=distributions(study, model),
        metric=SCORE,
        mode=study.mode,
        sampler=sampler,
        points_to_evaluate=[start] if held else None,
    )


def _trial_name(trial: Trial) -> str:
    return f"trial-{trial.trial_id}"


def _trial(values: Mapping[str, Any], *, settings: Mapping[str, Any]) -> None:
    """One trial in its actor: one thread, behind whatever serves on this machine."""
    os.setpriority(os.PRIO_PROCESS, 0, LOW_PRIORITY)
    study = StudyConfig.model_validate(settings["study"])
    job = JOBS[study.job]
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = tune.get_checkpoint()
        resume_from = None if checkpoint is None else Path(checkpoint.to_directory(f"{scratch}/resume"))
        report = TrialReport(study, settings["metric"], _tell, resume_from)
        config = trial_config(study, job.config, values)
        run_trial(job, config, Shop(settings["shop"]), report, Path(scratch) / "bundle")


def _tell(line: dict[str, Any], checkpoint: Path | None) -> None:
    held = None if checkpoint is None else tune.Checkpoint.from_directory(str(checkpoint))
    tune.report(line, checkpoint=held)


class TrialsFile(tune.Callback):
    """Keeps TRIALS_FILE true. It is pickled with the study, so that a resumed one goes on writing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_experiment_end(self, trials: Sequence[Trial], **_: Any) -> None:
        self.on_step_end(trials=trials)

    def on_step_end(self, *, trials: Sequence[Trial], **_: Any) -> None:
        outcomes = [_outcome(place, trial) for place, trial in enumerate(trials, 1)]
        if outcomes != load(self.path):
            save(outcomes, self.path)


def _outcome(place: int, trial: Trial) -> TrialOutcome:
    last = trial.last_result or {}
    error = trial.get_pickled_error() if trial.status == Trial.ERROR else None
    return TrialOutcome(
        trial=place,
        values=trial.config,
        status=_status(trial, finished=bool(last.get(FINISHED))),
        score=last.get(SCORE),
        epochs=last.get(EPOCH, 0),
        seconds=round(last.get("time_total_s", 0.0), 2),
        problem=None if error is None else root_cause(error),
    )


def _status(trial: Trial, *, finished: bool) -> Status:
    if trial.status == Trial.TERMINATED:
        return "finished" if finished else "stopped"
    if trial.status == Trial.ERROR:
        return "failed"
    return "running" if trial.status == Trial.RUNNING else "waiting"
