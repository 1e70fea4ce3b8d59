"""The one wrapper that runs any job's plain `fit` on Ray Train workers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
import ray.train
from pyarrow.fs import LocalFileSystem
from pydantic import BaseModel
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from training.contracts.atomic import write_bytes, write_json
from training.contracts.errors import InputError, Problem, ShopkeeperError
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop
from training.jobs.job import FitResult
from training.jobs.ray_data import quiet_ray_data
from training.jobs.registry import JOBS
from training.jobs.relayed_progress import ProgressFile, shown

RESULT_FILE, PROGRESS_FILE, FAULT_FILE = "result.json", "progress.jsonl", "fault.json"
WORKER_FAILURES = 3
BLOCK_SERIES, BLOCKS_A_CPU = 250, 2
LONGEST_STEP_S = 6 * 3600
"""The other workers wait while the first fits or judges alone; torch's own half an hour is too short for that."""


class RayReport:
    """`Report` of a fit that runs as one of Ray Train's workers; a checkpoint is durable once this returns."""

    def __init__(self, scratch: Path) -> None:
        context = ray.train.get_context()
        self.rank, self.world_size = context.get_world_rank(), context.get_world_size()
        self.resume_from: Path | None = None
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is not None:
            self.resume_from = _local(checkpoint) or Path(checkpoint.to_directory(str(scratch / "resume")))

    def __call__(self, metrics: Mapping[str, float], checkpoint: Path | None = None) -> Path | None:
        """Ray Train puts what the ranks bring into one folder."""
        held = Checkpoint.from_directory(str(checkpoint)) if checkpoint is not None else None
        ray.train.report(dict(metrics), checkpoint=held)
        kept = ray.train.get_checkpoint()
        return None if kept is None else _local(kept)

    @staticmethod
    def blocks(
        fit_block: Callable[[Sequence[Any], int], list[Any]], histories: Sequence[Any], season: int
    ) -> list[Any]:
        """A Ray task for each block of series, BLOCKS_A_CPU at a time for each processor of the cluster.

        The worker waits meanwhile, so that none asks for a processor itself.
        """
        task = ray.remote(num_cpus=0)(fit_block)
        most = max(1, int(BLOCKS_A_CPU * ray.cluster_resources().get("CPU", 1)))
        asked: list[Any] = []
        running: list[Any] = []
        for start in range(0, len(histories), BLOCK_SERIES):
            if len(running) >= most:
                _, running = ray.wait(running, num_returns=1)
            asked.append(task.remote(list(histories[start : start + BLOCK_SERIES]), season))
            running.append(asked[-1])
        return [fitted for block in asked for fitted in ray.get(block)]

    @staticmethod
    def mapped(blocks: Sequence[pa.Table], made: type, arguments: Sequence[Any]) -> Iterator[pa.Table]:
        """By Ray Data's actors, each with one `made(*arguments)`, on the processors that nobody has asked for.

        Here where there are none: Ray Data would wait for those that Train's own workers hold.
        """
        free = int(ray.available_resources().get("CPU", 0))
        if not free:
            yield from map(made(*arguments), blocks)
            return
        quiet_ray_data()
        answers = ray.data.from_arrow(list(blocks)).map_batches(
            made, fn_constructor_args=tuple(arguments), batch_size=None, batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(free, len(blocks))), num_cpus=1,
        )  # fmt: skip
        yield from answers.iter_batches(batch_size=None, batch_format="pyarrow")


def _local(checkpoint: Checkpoint) -> Path | None:
    """Where a checkpoint lies that needs no fetching."""
    return Path(checkpoint.path) if isinstance(checkpoint.filesystem, LocalFileSystem) else None


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
    WORKER_FAILURES times and goes on from the last epoch's checkpoint; a fault of the fit itself is not tried again.
    """
    (run_folder / FAULT_FILE).unlink(missing_ok=True)
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
        torch_config=TorchConfig(timeout_s=LONGEST_STEP_S),
    )
    try:
        with shown(run_folder / PROGRESS_FILE, progress):
            trainer.fit()
    except Exception as error:
        raise ShopkeeperError(f"training {job} failed on Ray: {root_cause(error)}") from error
    raise_fault(run_folder / FAULT_FILE)
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


def write_fault(path: Path, error: ShopkeeperError) -> None:
    """Keep what a fit raised, for the driver to raise."""
    problems = [problem.as_dict() for problem in error.problems] if isinstance(error, InputError) else []
    write_json(path, {"message": str(error), "problems": problems})


def raise_fault(path: Path) -> None:
    """Raise what `write_fault` kept, if anything."""
    if path.is_file():
        fault = json.loads(path.read_text(encoding="utf-8"))
        problems = [Problem(**problem) for problem in fault["problems"]]
        raise InputError(problems) if problems else ShopkeeperError(fault["message"])


def _fit_one_worker(settings: dict[str, Any]) -> None:
    out = Path(settings["out"])
    if (out / FAULT_FILE).is_file():  # the workers of before failed by a fault that these would meet again
        return
    try:
        _fit(settings, out)
    except ShopkeeperError as error:
        write_fault(out / FAULT_FILE, error)
        raise


def _fit(settings: dict[str, Any], out: Path) -> None:
    job, shop = JOBS[settings["job"]], Shop(settings["shop"])
    config = job.config.model_validate(settings["config"])
    with tempfile.TemporaryDirectory() as scratch:
        report = RayReport(Path(scratch))
        progress = ProgressFile(out / PROGRESS_FILE) if report.rank == 0 else NoProgress()
        result = job.fit(config, job.load(shop, config), report, out / "bundle", progress=progress)
        if report.rank == 0:
            write_bytes(out / RESULT_FILE, result.model_dump_json(indent=1).encode())
