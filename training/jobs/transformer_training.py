"""The train loop of the sequence transformer: packed batches, full or sampled softmax, early stopping, checkpoints."""

from __future__ import annotations

import ctypes
import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from training.contracts.atomic import write_json
from training.contracts.errors import ShopkeeperError
from training.contracts.progress import Progress
from training.features.sequences import Split
from training.jobs.job import Report
from training.jobs.packing import Batch, Packing
from training.jobs.workers import Workers
from training.losses import Bonus, fast_dtype, full_softmax_loss, sampled_softmax_loss
from training.models.popularity import training_counts
from training.models.sequence_transformer import Dropout, SequenceTransformer, Tower, TransformerConfig

TENSORS_FILE = "checkpoint.safetensors"
STATE_FILE = "checkpoint.json"
BEST = "best."
LARGE_BUFFER_BYTES = 8 << 20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
MOMENTS = ("exp_avg", "exp_avg_sq", "step")

Judge = Callable[[SequenceTransformer], float]


class TrainingConfig(BaseModel):
    """How the transformer is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=100, ge=0, description="at most; 0 leaves the transformer out")
    patience: int = Field(default=4, ge=1, description="epochs without a better validation before it stops")
    max_train_s: float = Field(default=200.0, gt=0, description="wall clock of all epochs together")
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    tokens_per_step: int = Field(default=920, ge=1)
    full_softmax_items: int = Field(default=30_000, ge=0, description="larger catalogues get sampled softmax")
    threads: int = Field(default=1, ge=1, description="of torch; beside other work more than one is slower")
    negatives: int = Field(default=512, ge=1, description="shared by the batch, when sampled")


def _give_back_large_buffers() -> None:
    """Map allocations of LARGE_BUFFER_BYTES by themselves: glibc's heap would never fill the gaps that they leave.

    A catalogue of 92,000 items costs 72 MB a step otherwise. Where the C library has no mallopt, nothing is done.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BUFFER_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, 16 * LARGE_BUFFER_BYTES)


@dataclass
class Course:
    """How far a training is."""

    epoch: int = 0
    best: float = -1.0
    best_epoch: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    examples: int = 0
    tokens: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    resumed_after: list[int] = field(default_factory=list)

    def finished(self, config: TrainingConfig) -> bool:
        late = self.seconds >= config.max_train_s
        return late or self.epoch >= config.epochs or self.epoch - self.best_epoch >= config.patience

    @property
    def examples_per_second(self) -> float:
        return self.examples / max(self.seconds, 1e-9)

    def said(self) -> list[str]:
        """Speed, and where the training was interrupted, for the notes of a result."""
        return [
            f"transformer: {self.epoch} epochs, best {self.best_epoch}; "
            f"{self.cpu_seconds / max(self.epoch, 1):.2f} CPU-seconds an epoch, "
            f"{self.tokens / max(self.cpu_seconds, 1e-9):,.0f} tokens per CPU-second",
            *(f"the training was interrupted and went on after epoch {epoch}" for epoch in self.resumed_after),
        ]


class TransformerTraining:
    """One training; `run` goes on from the report's checkpoint and returns the best epoch's model."""

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
        features_IF: sparse.csr_matrix | None,
    ) -> None:
        _give_back_large_buffers()
        torch.set_num_threads(config.threads)
        torch.manual_seed(seed)
        self.config, self.seed, self.workers = config, seed, workers
        self.tower = Tower(items, sizes, repeats=repeats, features_IF=features_IF).to(workers.device)
        self.packing = Packing(split.train, split.pairs, max_len=sizes.max_len, tokens_per_step=config.tokens_per_step)
        self.optimizer = torch.optim.AdamW(
            self.tower.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        # A plan's number of steps is the same in every epoch.
        self.steps_per_epoch = math.ceil(len(self.packing.plan(np.random.default_rng(seed))) / workers.size)
        self.sampled = items > config.full_softmax_items
        # Laplace's one keeps the log rate of a never seen item finite.
        rate_I = torch.from_numpy(training_counts(split.train, items) + 1.0).to(workers.device, torch.float32)
        self.rate_I, self.log_q_I = rate_I, (rate_I / rate_I.sum() * config.negatives).log()
        self.dtype = fast_dtype(workers.device)
        self.course = Course()
        self.best_state = self._weights()

    def run(self, judge: Judge, report: Report, progress: Progress) -> SequenceTransformer:
        """`judge` (higher is better) is asked on rank 0 only."""
        if report.resume_from is not None:
            self._restore(report.resume_from)
        progress.stage("transformer steps, at most", self.config.epochs * self.steps_per_epoch)
        progress.advance(self.course.epoch * self.steps_per_epoch)
        while self.packing.pairs_per_epoch and not self.course.finished(self.config):
            self._report(report, self._epoch(judge, progress))
        self.tower.load_state_dict(self.best_state)
        return SequenceTransformer(self.tower)

    def _epoch(self, judge: Judge, progress: Progress) -> dict[str, float]:
        course, epoch = self.course, self.course.epoch + 1
        wall, cpu = time.monotonic(), time.process_time()
        loss, tokens, examples = self._train(epoch, progress)
        train_cpu_s = time.process_time() - cpu
        score = judge(SequenceTransformer(self.tower)) if self.workers.rank == 0 else 0.0
        seconds = time.monotonic() - wall
        score, seconds = self.workers.from_first([score, seconds])
        course.epoch, course.seconds, course.examples = epoch, course.seconds + seconds, course.examples + examples
        course.cpu_seconds, course.tokens = course.cpu_seconds + train_cpu_s, course.tokens + tokens
        if score > course.best:
            course.best, course.best_epoch, self.best_state = score, epoch, self._weights()
        line = {
            "epoch": float(epoch),
            "loss": loss,
            "ndcg@10": score,
            "seconds": seconds,
            "train_cpu_s": train_cpu_s,
            "tokens_per_cpu_s": tokens / max(train_cpu_s, 1e-9),
        }
        course.curve.append(line)
        return line

    def _train(self, epoch: int, progress: Progress) -> tuple[float, int, int]:
        """Mean loss, tokens and examples of one epoch over all workers; raises where the loss is not a number."""
        plan = self.packing.plan(np.random.default_rng([self.seed, epoch]))
        # Every worker takes as many steps: the last ones begin the epoch's plan again.
        size, rank = self.workers.size, self.workers.rank
        own = [plan[(step * size + rank) % len(plan)] for step in range(self.steps_per_epoch)]
        rng = np.random.Generator(np.random.SFC64([self.seed, epoch, self.workers.rank]))
        self._draw_dropout_from(rng)
        self.tower.train()
        total, tokens, examples = 0.0, 0, 0
        for step, users in enumerate(own):
            batch = self.packing.batch(users)
            loss = self._step(batch, rng)
            if not math.isfinite(loss):
                raise ShopkeeperError(
                    f"the loss is {loss} at epoch {epoch}, step {step + 1}: the checkpoint of epoch {epoch - 1} is "
                    "kept; try a smaller learning_rate"
                )
            total += loss * len(batch.targets_P)
            tokens, examples = tokens + int(batch.lengths_B.sum()), examples + len(batch.targets_P)
            progress.advance()
        self.tower.eval()
        total, all_tokens, all_examples = self.workers.sum([total, float(tokens), float(examples)])
        return total / all_examples, int(all_tokens), int(all_examples)

    def _step(self, batch: Batch, rng: np.random.Generator) -> float:
        device = self.workers.device
        tokens_BL, places_P, items_ID = batch.tokens_BL.to(device), batch.places_P.to(device), self.tower.item_vectors()
        x_BLD = self.tower(tokens_BL, batch.lengths_B.to(device), items_ID)
        bonus = self._bonus(x_BLD, tokens_BL, items_ID, places_P)
        loss = self._loss(x_BLD.flatten(0, 1)[places_P], items_ID, batch.targets_P.to(device), bonus, rng)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.workers.average_gradients(self.tower)
        self.optimizer.step()
        return float(loss.detach())

    def _bonus(self, x_BLD: Tensor, tokens_BL: Tensor, items_ID: Tensor, places_P: Tensor) -> Bonus | None:
        """What the items of each history gain, where they may come again."""
        if self.tower.repetition is None:
            return None
        gains = self.tower.repetition(x_BLD, tokens_BL)
        plain_BQL = x_BLD @ functional.embedding(tokens_BL, items_ID).transpose(1, 2)
        return Bonus(
            codes_NH=tokens_BL[places_P // tokens_BL.shape[1]],
            plain_NH=plain_BQL.flatten(0, 1)[places_P],
            gain_NH=gains.gain_BQL.flatten(0, 1)[places_P],
            counts_NH=gains.newest_BQL.flatten(0, 1)[places_P],
        )

    def _loss(
        self, x_PD: Tensor, items_ID: Tensor, targets_P: Tensor, bonus: Bonus | None, rng: np.random.Generator
    ) -> Tensor:
        if not self.sampled:
            return full_softmax_loss(x_PD, items_ID, targets_P, bonus=bonus, dtype=self.dtype)
        generator = torch.Generator(device=items_ID.device).manual_seed(int(rng.integers(2**62)))
        negatives_S = torch.multinomial(self.rate_I, self.config.negatives, replacement=True, generator=generator)
        return sampled_softmax_loss(x_PD, items_ID, targets_P, negatives_S, self.log_q_I, bonus=bonus)

    def _draw_dropout_from(self, rng: np.random.Generator) -> None:
        for module in self.tower.modules():
            if isinstance(module, Dropout):
                module.rng = rng

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.tower.state_dict().items()}

    def _report(self, report: Report, line: dict[str, float]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder)
            if self.workers.rank == 0:
                self._save(checkpoint)
            report(line, checkpoint if self.workers.rank == 0 else None)

    def _save(self, folder: Path) -> None:
        tensors = {**self._weights(), **{BEST + name: tensor for name, tensor in self.best_state.items()}}
        names = {parameter: name for name, parameter in self.tower.named_parameters()}
        for parameter, state in self.optimizer.state.items():
            tensors |= {f"{moment}.{names[parameter]}": state[moment] for moment in MOMENTS}
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / TENSORS_FILE)
        write_json(folder / STATE_FILE, vars(self.course))

    def _restore(self, folder: Path) -> None:
        tensors = load_file(folder / TENSORS_FILE, device=str(self.workers.device))
        document: dict[str, Any] = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        self.course = Course(**document)
        self.course.resumed_after.append(self.course.epoch)
        self.tower.load_state_dict({name: tensors[name] for name in self.best_state})
        self.best_state = {name: tensors[BEST + name] for name in self.best_state}
        for name, parameter in self.tower.named_parameters():
            self.optimizer.state[parameter] = {moment: tensors[f"{moment}.{name}"] for moment in MOMENTS}
