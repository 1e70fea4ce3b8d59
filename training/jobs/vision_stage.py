"""The train loop of a vision network: epochs, warm-up and cosine, averaged weights, the best epoch, checkpoints."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn

from training.contracts.atomic import write_json
from training.contracts.errors import ShopkeeperError
from training.contracts.progress import Progress
from training.jobs.divergence import LossWatch
from training.jobs.job import Report
from training.jobs.vision_config import VisionConfig
from training.jobs.vision_course import VisionCourse
from training.jobs.weight_average import WeightAverage
from training.jobs.workers import Workers
from training.models.precision import fast_dtype

LARGEST_NORM = 5.0
LEAST_SHARE = 0.01
TENSORS_FILE, COURSE_FILE = "checkpoint.safetensors", "checkpoint.json"
BEST, AVERAGE, MOMENTS = "best.", "average.", ("exp_avg", "exp_avg_sq", "step")


class Stage(Protocol):
    """What is trained: a module, the losses of an epoch's steps, and a judgement (higher is better)."""

    name: str
    module: nn.Module
    epochs: int
    learning_rate: float
    steps_per_epoch: int
    pictures_per_step: int
    guess: int
    """Choices that a guess has; its loss is about their log."""

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
        self.first_epoch, self.done = sum(one.course.epoch for one in earlier), False
        self.module = stage.module.to(workers.device, memory_format=torch.channels_last)
        matrices = [weight for weight in self.module.parameters() if weight.ndim > 1]
        others = [weight for weight in self.module.parameters() if weight.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=stage.learning_rate, fused=True,
        )  # fmt: skip
        self.average = WeightAverage(self.module, config.average_decay)
        self.watch = LossWatch(stage.guess, largest=4.0)
        self.course = VisionCourse(stage.name)
        self._best = self._copied()

    def run(self, report: Report, progress: Progress) -> None:
        """Go on from the report's checkpoint, where it has one, and leave the best epoch's weights."""
        stage, course = self.stage, self.resumed(report.resume_from)
        progress.stage(f"{stage.name} steps", stage.epochs * stage.steps_per_epoch)
        progress.advance(course.epoch * stage.steps_per_epoch)
        while not self.done and course.epoch < stage.epochs and course.seconds < self.config.max_train_s:
            line = self._epoch(progress)
            with tempfile.TemporaryDirectory() as folder:
                if self.workers.rank == 0:
                    self.save(Path(folder))
                report(line, Path(folder) if self.workers.rank == 0 else None)
        self.done = True
        self.module.load_state_dict(self._best)
        self.module.eval()

    def _epoch(self, progress: Progress) -> dict[str, float]:
        course, wall, cpu = self.course, time.monotonic(), time.process_time()
        loss = self._train(course.epoch + 1, progress)
        with self.average.swapped_in():
            self.stage.settle()
            self.module.eval()
            with torch.inference_mode(), self.autocast():
                (score,) = self.workers.from_first([self.stage.judge() if self.workers.rank == 0 else 0.0])
            if score >= course.best:
                course.best, course.best_epoch, self._best = score, course.epoch + 1, self._copied()
        (cpu_s,) = self.workers.sum([time.process_time() - cpu])
        (seconds,) = self.workers.from_first([time.monotonic() - wall])
        course.epoch, course.seconds, course.cpu_seconds = (
            course.epoch + 1,
            course.seconds + seconds,
            course.cpu_seconds + cpu_s,
        )
        course.examples += self.stage.steps_per_epoch * self.stage.pictures_per_step * self.workers.size
        line = {
            "epoch": float(self.first_epoch + course.epoch), "loss": loss, f"{self.stage.name} validation": score,
            "seconds": seconds, "cpu_s": cpu_s,
        }  # fmt: skip
        course.curve.append(line)
        return line

    def _train(self, epoch: int, progress: Progress) -> float:
        """Mean loss of one epoch over all workers; raises where the training has gone wrong."""
        seed = [self.config.seed, self.first_epoch + epoch, self.workers.rank]
        rng = np.random.default_rng(seed)
        chance = Generator().manual_seed(int(rng.integers(1 << 62)))
        self.module.train()
        total = 0.0
        for number, loss in enumerate(self._steps(epoch, chance, rng)):
            total += self._step(loss, (epoch - 1) * self.stage.steps_per_epoch + number, epoch)
            progress.advance()
        (total,) = self.workers.sum([total])
        return total / self.workers.size / self.stage.steps_per_epoch

    def _steps(self, epoch: int, chance: Generator, rng: np.random.Generator) -> Iterator[Tensor]:
        losses = self.stage.losses(epoch, chance, rng)
        for _ in range(self.stage.steps_per_epoch):
            with self.autocast():
                loss = next(losses)
            yield loss

    def _step(self, loss: Tensor, step: int, epoch: int) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.stage.learning_rate * self._share(step)
        self.optimizer.zero_grad(set_to_none=False)
        loss.backward()
        gradients = [weight.grad for weight in self.module.parameters() if weight.grad is not None]
        self.workers.average_in_place(gradients)
        norm = float(nn.utils.clip_grad_norm_(self.module.parameters(), LARGEST_NORM))
        value = float(loss.detach())
        (shared,) = self.workers.sum([value])
        fault = self.watch.fault(shared / self.workers.size, norm)
        if fault is not None:
            raise ShopkeeperError(
                f"{self.stage.name}: {fault} at epoch {epoch}; set a learning_rate below {self.stage.learning_rate:g}"
            )
        self.optimizer.step()
        self.average.update()
        return value

    def _share(self, step: int) -> float:
        """Of the learning rate: rising over the warm-up, then a cosine down to LEAST_SHARE."""
        done = (step + 1) / (self.stage.epochs * self.stage.steps_per_epoch)
        if done < self.config.warm_up:
            return done / self.config.warm_up
        fallen = (done - self.config.warm_up) / (1 - self.config.warm_up)
        return LEAST_SHARE + (1 - LEAST_SHARE) * (0.5 + 0.5 * math.cos(math.pi * fallen))

    def autocast(self) -> torch.autocast:
        device, wanted = self.workers.device, self.config.precision
        mixed = fast_dtype(device) == torch.bfloat16 if wanted == "auto" else wanted == "bfloat16"
        return torch.autocast(device.type, torch.bfloat16, enabled=mixed)

    def _copied(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}

    def save(self, folder: Path) -> None:
        tensors = self._copied()
        tensors |= {BEST + name: tensor for name, tensor in self._best.items()}
        tensors |= {AVERAGE + name: tensor for name, tensor in self.average.weights.items()}
        names = {parameter: name for name, parameter in self.module.named_parameters()}
        for parameter, state in self.optimizer.state.items():
            tensors |= {f"{moment}.{names[parameter]}": state[moment] for moment in MOMENTS}
        for one in self.earlier:
            tensors |= {f"{one.stage.name}.{name}": tensor for name, tensor in one.module.state_dict().items()}
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / TENSORS_FILE)
        courses = {one.stage.name: vars(one.course) for one in (*self.earlier, self)}
        write_json(
            folder / COURSE_FILE,
            {"stage": self.stage.name, "courses": courses, "averaged_steps": self.average.steps},
        )

    def resumed(self, folder: Path | None) -> VisionCourse:
        """How far this stage was when `folder` was written: nowhere, within it, or done."""
        if folder is None:
            return self.course
        document = json.loads((folder / COURSE_FILE).read_text(encoding="utf-8"))
        if self.stage.name not in document["courses"]:
            return self.course
        tensors = load_file(folder / TENSORS_FILE, device=str(self.workers.device))
        self.course = VisionCourse(**document["courses"][self.stage.name])
        self.done = document["stage"] != self.stage.name
        if self.done:
            self._best = {name: tensors[f"{self.stage.name}.{name}"] for name in self._best}
        else:
            self._restore(tensors, document["averaged_steps"])
        return self.course

    def _restore(self, tensors: dict[str, Tensor], averaged_steps: int) -> None:
        self.module.load_state_dict({name: tensors[name] for name in self._best})
        self._best = {name: tensors[BEST + name] for name in self._best}
        self.average.restore({name: tensors[AVERAGE + name] for name in self.average.weights}, averaged_steps)
        for name, parameter in self.module.named_parameters():
            self.optimizer.state[parameter] = {moment: tensors[f"{moment}.{name}"] for moment in MOMENTS}
        self.course.resumed_after.append(self.course.epoch)
