"""The train loop of a vision network: epochs, warm-up and cosine, averaged weights, the best epoch, checkpoints."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Generator, Tensor, nn

from training.contracts.errors import ShopkeeperError
from training.contracts.progress import Progress
from training.jobs.descent import Descent
from training.jobs.divergence import LossWatch
from training.jobs.job import Report
from training.jobs.stage_state import StageState
from training.jobs.vision_config import VisionConfig
from training.jobs.vision_course import VisionCourse
from training.jobs.weight_average import WeightAverage
from training.jobs.workers import Workers
from training.models.precision import fast_dtype

LARGEST_NORM = 5.0
LARGEST_LOSS = 4.0
LEAST_SHARE = 0.01


class Stage(Protocol):
    """What is trained: a module, the losses of an epoch's steps, and a judgement (higher is better)."""

    name: str
    module: nn.Module
    epochs: int
    descent: Descent
    hurried: Sequence[nn.Parameter]
    """Weights that learn `hurry` times as fast."""
    hurry: float
    steps_per_epoch: int
    pictures_per_step: int
    guess: int
    """Choices that a guess has; its loss is about their log, and `guess_besides`."""
    guess_besides: float
    indifference: float
    """Judgements that are no further apart than this are alike."""

    def losses(self, epoch: int, chance: Generator, rng: np.random.Generator) -> Iterator[Tensor]: ...

    def settle(self) -> None:
        """Bring what is no parameter (batch statistics) in line with the present weights."""

    def judge(self) -> float: ...


class StageTraining:
    """One stage over all workers, after those `earlier`, which its checkpoints hold too."""

    def __init__(
        self, stage: Stage, config: VisionConfig, workers: Workers, *, earlier: Sequence[StageTraining] = ()
    ) -> None:
        self.stage, self.config, self.workers, self.earlier = stage, config, workers, earlier
        self.module = stage.module.to(workers.device, memory_format=torch.channels_last)
        hurried = {id(weight) for weight in stage.hurried}
        usual = [weight for weight in self.module.parameters() if id(weight) not in hurried]
        groups = [
            ([weight for weight in usual if weight.ndim > 1], stage.descent.weight_decay, 1.0),
            ([weight for weight in usual if weight.ndim <= 1], 0.0, 1.0),
            (list(stage.hurried), 0.0, stage.hurry),
        ]
        self.optimizer = stage.descent.optimizer(
            [{"params": weights, "weight_decay": decay, "rate": rate} for weights, decay, rate in groups if weights]
        )
        self.average = WeightAverage(self.module, config.average_decay)
        self.state = StageState(self.module, self.optimizer, self.average)
        self.watch = LossWatch(stage.guess, LARGEST_LOSS, besides=stage.guess_besides)
        self.course: VisionCourse = VisionCourse(stage.name)
        self.first_epoch = sum(one.course.epoch for one in earlier)

    def run(self, report: Report, progress: Progress) -> None:
        """Go on from the report's checkpoint, where it has one, and leave the best epoch's weights."""
        stage, over = self.stage, False
        if report.resume_from is not None:
            self.course, over = self.state.restore(report.resume_from, stage.name)
        progress.stage(f"{stage.name} steps", stage.epochs * stage.steps_per_epoch)
        progress.advance(self.course.epoch * stage.steps_per_epoch)
        while not over and self.course.epoch < stage.epochs and self.course.seconds < self.config.max_train_s:
            self._report(report, self._epoch(progress))
        self.state.take_best()
        self.module.eval()

    def _report(self, report: Report, line: dict[str, float]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder)
            if self.workers.rank == 0:
                self.state.save(checkpoint, self.course, [(one.course, one.module) for one in self.earlier])
            report(line, checkpoint if self.workers.rank == 0 else None)

    def _epoch(self, progress: Progress) -> dict[str, float]:
        course, epoch = self.course, self.course.epoch + 1
        wall, cpu = time.monotonic(), time.process_time()
        loss = self._train(epoch, progress)
        score = self._judged(epoch)
        (cpu_s,) = self.workers.sum([time.process_time() - cpu])
        (seconds,) = self.workers.from_first([time.monotonic() - wall])
        course.epoch, course.seconds, course.cpu_seconds = epoch, course.seconds + seconds, course.cpu_seconds + cpu_s
        course.examples += self.stage.steps_per_epoch * self.stage.pictures_per_step * self.workers.size
        line = {
            "epoch": float(self.first_epoch + epoch), "loss": loss, "validation": score, "seconds": seconds,
            "cpu_s": cpu_s,
        }  # fmt: skip
        course.curve.append(line)
        return line

    def _judged(self, epoch: int) -> float:
        """Of the averaged weights; the best are kept, the later of two that are alike."""
        with self.average.swapped_in():
            with self._autocast():
                self.stage.settle()
            self.module.eval()
            with torch.inference_mode(), self._autocast():
                (score,) = self.workers.from_first([self.stage.judge() if self.workers.rank == 0 else 0.0])
            if score >= self.course.best - self.stage.indifference:
                self.course.best, self.course.best_epoch = max(score, self.course.best), epoch
                self.state.keep_as_best()
        return score

    def _train(self, epoch: int, progress: Progress) -> float:
        """Mean loss of one epoch over all workers; raises where the training has gone wrong."""
        rng = np.random.default_rng([self.config.seed, self.first_epoch + epoch, self.workers.rank])
        chance = Generator().manual_seed(int(rng.integers(1 << 62)))
        losses, steps, total = self.stage.losses(epoch, chance, rng), self.stage.steps_per_epoch, 0.0
        self.module.train()
        for number in range(steps):
            with self._autocast():
                loss = next(losses)
            total += self._step(loss, share=self._share(epoch - 1 + (number + 1) / steps), epoch=epoch)
            progress.advance()
        return total / steps

    def _step(self, loss: Tensor, *, share: float, epoch: int) -> float:
        """The mean loss over the workers, before the update."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.stage.descent.step_rate * share * group["rate"]
        self.optimizer.zero_grad(set_to_none=False)
        loss.backward()
        self.workers.average_in_place([weight.grad for weight in self.module.parameters() if weight.grad is not None])
        norm = float(nn.utils.clip_grad_norm_(self.module.parameters(), LARGEST_NORM))
        mean = self.workers.sum([float(loss.detach())])[0] / self.workers.size
        fault = self.watch.fault(mean, norm)
        if fault is not None:
            raise ShopkeeperError(
                f"{self.stage.name}: {fault} at epoch {epoch}; set a learning_rate below "
                f"{self.stage.descent.learning_rate:g}"
            )
        self.optimizer.step()
        self.average.update()
        return mean

    def _share(self, epochs_done: float) -> float:
        """Of the learning rate: rising over the warm-up, then a cosine down to LEAST_SHARE."""
        done, rising = epochs_done / self.stage.epochs, self.config.warm_up
        if done < rising:
            return done / rising
        return LEAST_SHARE + (1 - LEAST_SHARE) * (0.5 + 0.5 * math.cos(math.pi * (done - rising) / (1 - rising)))

    def _autocast(self) -> torch.autocast:
        device, wanted = self.workers.device, self.config.precision
        mixed = fast_dtype(device) == torch.bfloat16 if wanted == "auto" else wanted == "bfloat16"
        return torch.autocast(device.type, torch.bfloat16, enabled=mixed)
