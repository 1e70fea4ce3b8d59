"""The train loop of a ranker network: impressions by cross-entropy, choices by softmax, early stopping, checkpoints."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from training.contracts.atomic import write_json
from training.contracts.errors import ShopkeeperError
from training.contracts.progress import Progress
from training.jobs.divergence import LossWatch
from training.jobs.job import Report
from training.jobs.ranker_data import RankerData
from training.jobs.ranker_examples import Examples, ExampleTensors, batches_of
from training.jobs.workers import Workers
from training.metrics import auc
from training.models.deep_ranker import network_logits
from training.models.ranker_network import OUTPUTS, NetworkConfig, RankerNetwork

Kind = Literal["din", "wide_and_deep"]
STATE_FILE = "checkpoint.json"
CHOICE = OUTPUTS.index("choice")


class RankerTrainingConfig(BaseModel):
    """How the networks are trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: NetworkConfig = NetworkConfig()
    epochs: int = Field(default=12, ge=1, description="at most, of each network")
    patience: int = Field(default=3, ge=1, description="epochs without a better validation AUC before it stops")
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    slates_per_step: int = Field(default=64, ge=1)
    choice_weight: float = Field(default=0.3, ge=0, description="of the loss of choices beside that of impressions")
    largest_loss: float = Field(default=3.0, gt=1, description="times a guess's loss; a lasting larger one stops")
    threads: int = Field(default=1, ge=1)


@dataclass
class RankerCourse:
    """How far the training of each network is; kept in every checkpoint."""

    epoch: int = 0
    seconds: float = 0.0
    examples: int = 0
    finished: list[str] = field(default_factory=list)
    best_auc: dict[str, float] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)


class RankerTraining:
    """Trains networks of several kinds one after the other on the same data; goes on from the report's checkpoint."""

    def __init__(self, config: RankerTrainingConfig, data: RankerData, report: Report, *, seed: int) -> None:
        torch.set_num_threads(config.threads)
        self.config, self.data, self.report, self.seed, self.workers = config, data, report, seed, Workers()
        self.course = RankerCourse()
        self.best: dict[str, dict[str, Tensor]] = {}
        self.latest: dict[str, Tensor] = {}
        self.main = OUTPUTS.index(data.heads[0])
        self.heads = [OUTPUTS.index(head) for head in data.heads]
        if report.resume_from is not None:
            self._resume(report.resume_from)

    def train(self, kind: Kind, progress: Progress) -> RankerNetwork:
        """The network of the best epoch by validation AUC of the main head."""
        slates, choices = ExampleTensors(self.data.slates["train"]), ExampleTensors(self.data.choices["train"])
        network = self._fresh(kind)
        if kind not in self.course.finished:
            begun = sum(line["kind"] == float(kind == "din") for line in self.course.curve)
            if begun and self.latest:
                network.load_state_dict(self.latest)
            self._epochs(kind, network, slates, choices, begun, progress)
        network.load_state_dict(self.best[kind])
        return network.eval()

    def _epochs(
        self, kind: Kind, network: RankerNetwork, slates: ExampleTensors, choices: ExampleTensors, begun: int,
        progress: Progress,
    ) -> None:  # fmt: skip
        config, course = self.config, self.course
        optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        watch = LossWatch(2, config.largest_loss)
        progress.stage(f"{kind} slates, at most", len(slates) * (config.epochs - begun))
        stale = 0
        for epoch in range(begun, config.epochs):
            started_s = time.monotonic()
            loss = self._epoch(epoch, network, optimizer, watch, slates, choices, progress)
            reached = self._judge(network, self.data.slates["validation"])
            stale = 0 if reached > course.best_auc.get(kind, 0.0) else stale + 1
            if not stale:
                course.best_auc[kind] = reached
                self.best[kind] = {name: value.clone() for name, value in network.state_dict().items()}
            course.epoch += 1
            course.seconds += time.monotonic() - started_s
            course.examples += len(slates.labels_NH)
            line = {"epoch": float(course.epoch), "loss": loss, "auc": reached, "kind": float(kind == "din")}
            course.curve.append(line)
            if stale >= config.patience or epoch + 1 == config.epochs:
                course.finished.append(kind)
            self.latest = network.state_dict()
            self._keep(line)
            if stale >= config.patience:
                break

    def _epoch(
        self, epoch: int, network: RankerNetwork, optimizer: torch.optim.Optimizer, watch: LossWatch,
        slates: ExampleTensors, choices: ExampleTensors, progress: Progress,
    ) -> float:  # fmt: skip
        config, losses = self.config, []
        rng = np.random.default_rng((self.seed, epoch))
        torch.manual_seed(1_000 * self.seed + epoch)
        network.train()
        workers = self.workers
        for step, slates_B in enumerate(
            batches_of(rng.permutation(len(slates)), config.slates_per_step, workers.rank, workers.size)
        ):
            loss = self._impression_loss(network, slates, slates.rows(slates_B))
            if config.choice_weight:
                some = rng.integers(len(choices), size=max(len(slates_B) // 2, 1))
                loss = loss + config.choice_weight * _choice_loss(network, choices, np.unique(some))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
            workers.average_in_place(gradients)
            norm = float(torch.nn.utils.get_total_norm(gradients))
            fault = watch.fault(float(loss.detach()), norm)
            if fault is not None:
                raise ShopkeeperError(
                    f"training the ranker stopped in epoch {epoch + 1}, step {step + 1}: {fault}; the checkpoint of "
                    "the last good epoch is kept. Try a lower learning_rate"
                )
            optimizer.step()
            losses.append(float(loss.detach()))
            progress.advance(len(slates_B) * workers.size)
        return float(np.mean(losses))

    def _impression_loss(self, network: RankerNetwork, slates: ExampleTensors, rows_N: Tensor) -> Tensor:
        logits_NH = network(slates.batch(rows_N), slates.positions_N[rows_N])
        losses_NH = functional.binary_cross_entropy_with_logits(
            logits_NH[:, self.heads], slates.labels_NH[rows_N][:, self.heads], reduction="none"
        )
        return losses_NH.mean(0).sum()

    def _judge(self, network: RankerNetwork, examples: Examples) -> float:
        network.eval()
        logits_N = network_logits(network, examples.inputs)[:, self.main]
        return self.workers.from_first([auc(logits_N, examples.labels_NH[:, self.main])])[0]

    def _fresh(self, kind: Kind) -> RankerNetwork:
        torch.manual_seed(self.seed)
        network = RankerNetwork(self.data.state.sizes(), self.config.network, kind)
        train = self.data.slates["train"].inputs
        recent_XF = np.concatenate([one.recent_RF for one in train])
        network.standardise("features", np.concatenate([one.features_CF for one in train]))
        network.standardise("context", np.stack([one.context_U for one in train]))
        network.standardise("recent", recent_XF[recent_XF[:, 0] > 0] if recent_XF.any() else recent_XF)
        return network

    def _keep(self, line: Mapping[str, float]) -> None:
        if self.report.rank > 0:
            self.report(line)
            return
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            save_file(self.latest, folder / "latest.safetensors")
            for kind, weights in self.best.items():
                save_file(weights, folder / f"best-{kind}.safetensors")
            write_json(folder / STATE_FILE, asdict(self.course))
            self.report(line, folder)

    def _resume(self, folder: Path) -> None:
        """Weights and course; the optimizer's moments start afresh."""
        self.course = RankerCourse(**json.loads((folder / STATE_FILE).read_text(encoding="utf-8")))
        self.latest = load_file(folder / "latest.safetensors")
        for kind in self.course.best_auc:
            self.best[kind] = load_file(folder / f"best-{kind}.safetensors")


def _choice_loss(network: RankerNetwork, choices: ExampleTensors, slates_B: np.ndarray) -> Tensor:
    """-log P(what was taken | its slate), mean over the choices."""
    rows_N = choices.rows(slates_B)
    logits_N = network(choices.batch(rows_N))[:, CHOICE]
    counts = [int(choices.starts_L1[slate + 1] - choices.starts_L1[slate]) for slate in slates_B]
    taken_N = choices.labels_NH[rows_N].amax(1)
    place_N = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    padded_BC = torch.full((len(counts), max(counts)), -torch.inf)
    column_N = torch.cat([torch.arange(count) for count in counts])
    padded_BC = padded_BC.index_put((place_N, column_N), logits_N)
    chance_N = functional.log_softmax(padded_BC, dim=1)[place_N, column_N]
    return -(chance_N * taken_N).sum() / taken_N.sum()
