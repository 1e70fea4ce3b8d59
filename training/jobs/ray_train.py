"""The one wrapper that runs any job's plain `fit` on Ray Train workers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray.train
from pydantic import BaseModel
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from training.contracts.atomic import write_bytes
from training.contracts.errors import ShopkeeperError
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop
from training.jobs.job import FitResult
from training.jobs.registry import JOBS
from training.jobs.relayed_progress import ProgressFile, shown

RESULT_FILE, PROGRESS_FILE = "result.json", "progress.jsonl"
WORKER_FAILURES = 3


class RayReport:
    """`Report` of a fit that runs as one of Ray Train's workers; a checkpoint is durable once this returns."""

    def __init__(self, scratch: Path) -> None:
        context = ray.train.get_context()
        self.rank, self.world_size = context.get_world_rank(), context.get_world_size()
        self.resume_from: Path | None = None
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is not None:
            self.resume_from = Path(checkpoint.to_directory(str(scratch / "resume")))

    def __call__(self, metrics: Mapping[str, float], checkpoint: Path | None = None) -> None:
        held = Checkpoint.from_directory(str(checkpoint)) if checkpoint is not None and self.rank == 0 else None
        ray.train.report(dict(metrics), checkpoint=held)


def fit_on_ray(
    job: str,
    config: BaseModel,
    shop: Shop,
    *,
    run_folder: Path,
    workers: int = 1,
    cpus_per_worker: float = 1,
    gpu: bool = False,
    progress: Progress = NoProgress(),
) -> FitResult:
    """`fit` on `workers` Ray Train workers (gloo, or NCCL with `gpu`); resumes the run that `run_folder` holds.

    The shop and the run folder must be readable from every node. A worker that dies is replaced up to
    WORKER_FAILURES times and goes on from the last epoch's checkpoint.
    """
    settings = {
        "job": job,
        "config": config.model_dump(mode="json"),
        "shop": str(shop.path.absolute()),
        "out": str(run_folder.absolute()),
    }
    per_worker = {"CPU": cpus_per_worker, **({"GPU": 1} if gpu else {})}
    trainer = TorchTrainer(
        _fit_one_worker,
        train_loop_config=settings,
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu, resources_per_worker=per_worker),
        run_config=_resumable(run_folder),
    )
    try:
        with shown(run_folder / PROGRESS_FILE, progress):
            trainer.fit()
    except Exception as error:
        raise ShopkeeperError(f"training {job} failed on Ray: {root_cause(error)}") from error
    return FitResult.model_validate_json((run_folder / RESULT_FILE).read_bytes())


def _resumable(run_folder: Path) -> RunConfig:
    """The same folder and name, the same run: Ray Train goes on from its newest checkpoint."""
    return RunConfig(
        name="ray_train",
        storage_path=str(run_folder.absolute()),
        failure_config=FailureConfig(max_failures=WORKER_FAILURES),
        checkpoint_config=CheckpointConfig(num_to_keep=2),
    )


def root_cause(error: BaseException) -> str:
    """The innermost cause in one line: Ray wraps a worker's failure several times."""
    text = str(error).strip()
    return text.splitlines()[-1] if text else type(error).__name__


def _fit_one_worker(settings: dict[str, Any]) -> None:
    job = JOBS[settings["job"]]
    shop, out = Shop(settings["shop"]), Path(settings["out"])
    config = job.config.model_validate(settings["config"])
    with tempfile.TemporaryDirectory() as scratch:
        report = RayReport(Path(scratch))
        progress = ProgressFile(out / PROGRESS_FILE) if report.rank == 0 else NoProgress()
        result = job.fit(config, job.load(shop, config), report, out / "bundle", progress=progress)
        if report.rank == 0:
            write_bytes(out / RESULT_FILE, result.model_dump_json(indent=1).encode())
