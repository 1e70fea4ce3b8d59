"""The train loop of the sequence transformer: epochs of packed batches, early stopping, checkpoints."""

from __future__ import annotations

import ctypes
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from training.contracts.errors import ShopkeeperError
from training.contracts.progress import Progress
from training.features.cooccurrence import cooccurrence_vectors
from training.features.sequences import Int64s, Split
from training.jobs.course import Course
from training.jobs.job import Report
from training.jobs.memory import available_bytes, memory_named, refuse_too_large
from training.jobs.packing import Packing
from training.jobs.train_step import Diverged, TrainStep, item_table
from training.jobs.training_config import TrainingConfig
from training.jobs.training_memory import training_needs
from training.jobs.training_state import TrainingState
from training.jobs.workers import Workers
from training.models.dropout import Dropout
from training.models.item_content import ItemContent
from training.models.popularity import training_counts
from training.models.sequence_transformer import SequenceTransformer, Tower, TransformerConfig

LARGE_BUFFER_BYTES = 8 << 20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h

LEAST_SHARE = 0.05

Judge = Callable[[SequenceTransformer], float]


def _give_back_large_buffers() -> None:
    """Map allocations of LARGE_BUFFER_BYTES by themselves: glibc's heap would never fill the gaps that they leave.

    A catalogue of 92,000 items costs 72 MB a step otherwise. Where the C library has no mallopt, nothing is done.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BUFFER_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, 16 * LARGE_BUFFER_BYTES)


class TransformerTraining:
    """One training; `run` goes on from the report's checkpoint and returns the best epoch's model.

    Raises InputError where a table does not fit in `free_bytes` of memory, which is looked up where not given.
    """

    def __init__(
        self,
        sizes: TransformerConfig,
        config: TrainingConfig,
        split: Split,
        items: int,
        *,
        seed: int,
        workers: Workers,
        repeats: bool,
        content: ItemContent | None,
        free_bytes: float | None = None,
    ) -> None:
        _give_back_large_buffers()
        torch.set_num_threads(config.threads)
        torch.manual_seed(seed)
        self.config, self.seed, self.workers = config, seed, workers
        features = 0 if content is None else content.feature_rows
        self.needs = training_needs(items, features, sizes, config, workers=workers.size, repeats=repeats)
        # The worker with the least decides for all, so that none is left waiting.
        refuse_too_large(self.needs, *workers.least([free_bytes or available_bytes(workers.device)]))
        with memory_named(self.needs):
            table = item_table(items, sizes.dim, config, workers=workers, seed=seed)
            self.tower = Tower(items, sizes, repeats=repeats, content=content, item=table).to(workers.device)
        self.packing = Packing(split.train, split.pairs, max_len=sizes.max_len, tokens_per_step=config.tokens_per_step)
        self.step = TrainStep(self.tower, config, split.train, training_counts(split.train, items), workers=workers)
        # A plan's number of steps is the same in every epoch.
        self.steps_per_epoch = math.ceil(len(self.packing.plan(np.random.default_rng(seed))) / workers.size)
        self.state = TrainingState(self.step, items=items)
        self.course = Course()
        self.kept: Path | None = None
        self.earlier_s, self.earlier_cpu_s = 0.0, 0.0

    def run(self, judge: Judge, report: Report, progress: Progress) -> SequenceTransformer | None:
        """`judge` (higher is better) is asked on rank 0 only; the other ranks get no model."""
        if report.resume_from is not None:
            self.course, self.kept = self.state.restore(report.resume_from), report.resume_from
            self.course.resumed_after.append(self.course.epoch)
            self.earlier_s, self.earlier_cpu_s = self.course.seconds, self.course.cpu_seconds
        else:
            self._start_items(progress)
        progress.stage("transformer steps, at most", self.config.epochs * self.steps_per_epoch)
        progress.advance(self.course.epoch * self.steps_per_epoch)
        with memory_named(self.needs):
            while self.packing.pairs_per_epoch and not self.course.finished(self.config):
                self._report(report, self._epoch(judge, progress))
            self.state.take_best()
            return self.state.model()

    def _start_items(self, progress: Progress) -> None:
        if self.config.item_start == "random" or self.step.table is not None:
            return
        progress.stage("items that stand near each other", 1)
        items, dim = self.tower.item.weight.shape
        vectors_ID = torch.from_numpy(cooccurrence_vectors(self.packing.sequences, items, dim)).to(self.workers.device)
        self.workers.take_from_first(vectors_ID)
        self.tower.start_from(vectors_ID)
        progress.advance()

    def _epoch(self, judge: Judge, progress: Progress) -> dict[str, float]:
        course, epoch = self.course, self.course.epoch + 1
        wall, cpu = time.monotonic(), time.process_time()
        loss, tokens, examples = self._train(epoch, progress)
        (train_cpu_s,) = self.workers.sum([time.process_time() - cpu])
        times = self.workers.times(time.monotonic() - wall)
        with self.step.average.swapped_in():
            (score,) = self.workers.from_first([self._score(judge)])
            if score > course.best:
                course.best, course.best_epoch = score, epoch
                self.state.keep_as_best()
        (seconds,) = self.workers.from_first([time.monotonic() - wall])
        course.epoch, course.seconds, course.examples = epoch, course.seconds + seconds, course.examples + examples
        course.cpu_seconds, course.tokens = course.cpu_seconds + train_cpu_s, course.tokens + tokens
        line = {
            "epoch": float(epoch),
            "loss": loss,
            "ndcg@10": score,
            "seconds": seconds,
            "train_cpu_s": train_cpu_s,
            "tokens_per_cpu_s": tokens / max(train_cpu_s, 1e-9),
            "examples_per_s": examples / times.wall_s,
            **times.by_step(self.steps_per_epoch),
        }
        course.curve.append(line)
        return line

    def _score(self, judge: Judge) -> float:
        model = self.state.model()
        return judge(model) if model is not None else 0.0

    def _train(self, epoch: int, progress: Progress) -> tuple[float, int, int]:
        """Mean loss, tokens and examples of one epoch over all workers; raises where the training has gone wrong."""
        rng = np.random.Generator(np.random.SFC64([self.seed, epoch, self.workers.rank]))
        self._draw_dropout_from(rng)
        self.tower.train()
        total, tokens, examples = 0.0, 0, 0
        for number, users in enumerate(self._own_steps(epoch), start=1):
            batch = self.packing.batch(users)
            self.step.learn_at(self._share(epoch - 1 + number / self.steps_per_epoch))
            try:
                total += self.step(batch, rng) * len(batch.targets_P)
            except Diverged as error:
                raise self._diverged(str(error), epoch, number) from error
            tokens, examples = tokens + int(batch.lengths_B.sum()), examples + len(batch.targets_P)
            progress.advance()
        self.tower.eval()
        fault = self.step.watch.lasting_fault()
        if fault is not None:
            raise self._diverged(fault, epoch, self.steps_per_epoch)
        total, all_tokens, all_examples = self.workers.sum([total, float(tokens), float(examples)])
        return total / all_examples, int(all_tokens), int(all_examples)

    def _share(self, epochs_done: float) -> float:
        """Of the learning rate; LEAST_SHARE at the end of a cosine."""
        if self.config.schedule == "constant":
            return 1.0
        fallen = 0.5 + 0.5 * math.cos(math.pi * min(1.0, epochs_done / self.config.epochs))
        return min(1.0, epochs_done) * (LEAST_SHARE + (1 - LEAST_SHARE) * fallen)

    def _own_steps(self, epoch: int) -> list[Int64s]:
        """The users of this worker's steps; all workers take as many, the last ones begin the epoch's plan again."""
        plan = self.packing.plan(np.random.default_rng([self.seed, epoch]))
        size, rank = self.workers.size, self.workers.rank
        return [plan[(step * size + rank) % len(plan)] for step in range(self.steps_per_epoch)]

    def _diverged(self, fault: str, epoch: int, step: int) -> ShopkeeperError:
        place = f" in {self.kept}" if self.kept is not None else ""
        kept = f"the checkpoint of epoch {epoch - 1} is kept{place}" if epoch > 1 else "no epoch was finished before"
        return ShopkeeperError(
            f"{fault} at epoch {epoch}, step {step}; {kept}. Set a learning_rate below {self.config.learning_rate:g}: "
            "with another config it is another run, which begins anew"
        )

    def _draw_dropout_from(self, rng: np.random.Generator) -> None:
        for module in self.tower.modules():
            if isinstance(module, Dropout):
                module.rng = rng

    def _report(self, report: Report, line: dict[str, float]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder)
            self.state.save(checkpoint, self.course)
            self.kept = report(line, checkpoint if any(checkpoint.iterdir()) else None)
