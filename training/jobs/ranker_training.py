"""Trains the ranker's networks one after the other, with early stopping and checkpoints.

On top of the network without attention, kept as its own training left it, comes a control whose branch weighs all
recent items alike. DIN goes on from the control with weights of its own: what it is above it is attention's.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.contracts.atomic import write_json
from training.contracts.progress import Progress
from training.jobs.job import Report
from training.jobs.ranker_data import RankerData
from training.jobs.ranker_fitting import Fitting, RankerTrainingConfig
from training.jobs.workers import Workers
from training.metrics import auc
from training.models.deep_ranker import network_logits
from training.models.ranker_network import OUTPUTS, Kind, RankerNetwork

STATE_FILE = "checkpoint.json"
LATEST_FILE, AVERAGE_FILE, MOMENTS_FILE = "latest.safetensors", "average.safetensors", "moments.safetensors"
DIN: Kind = "din"
WIDE_AND_DEEP: Kind = "wide_and_deep"
MEAN_POOLING: Kind = "mean_pooling"
KINDS = (WIDE_AND_DEEP, MEAN_POOLING, DIN)
"""In the order of training: each goes on from those before it."""


@dataclass
class RankerCourse:
    """How far the training of each network is; kept in every checkpoint. `begun` to `peak` are of the latest.

    Its epochs are stale since its own `peak`: what is trained on top of a finished network begins below it.
    """

    epoch: int = 0
    din_epochs: int = 0
    begun: int = 0
    steps: int = 0
    stale: int = 0
    peak: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    examples: int = 0
    finished: list[str] = field(default_factory=list)
    best_auc: dict[str, float] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)


class RankerTraining:
    """Trains networks of KINDS on the same data; goes on from the report's checkpoint as if never interrupted.

    To the report the epochs are DIN's: those of the networks below are epoch 0, so that a study's last one is DIN's.
    """

    def __init__(self, config: RankerTrainingConfig, data: RankerData, report: Report, *, seed: int) -> None:
        torch.set_num_threads(config.threads)
        self.config, self.data, self.report, self.seed, self.workers = config, data, report, seed, Workers()
        self.course = RankerCourse()
        self.best: dict[str, dict[str, Tensor]] = {}
        self.latest: dict[str, Tensor] = {}
        self.averaged: dict[str, Tensor] = {}
        self.moments: dict[str, Tensor] = {}
        self.main = OUTPUTS.index(data.heads[0])
        if report.resume_from is not None:
            self._resume(report.resume_from)

    def train(self, kind: Kind, progress: Progress) -> RankerNetwork:
        """The averaged network of the best epoch by validation AUC of the main head."""
        network = self._fresh(kind)
        if kind != WIDE_AND_DEEP:
            network.adopt(self.best[WIDE_AND_DEEP])
        if kind == DIN:
            network.attend_from(self.best[MEAN_POOLING])
        if kind not in self.course.finished:
            self._epochs(kind, self._fitting(kind, network), progress)
        network.load_state_dict(self.best[kind])
        return network.eval()

    def _fitting(self, kind: Kind, network: RankerNetwork) -> Fitting:
        """Of the checkpoint where it has begun."""
        fitting = Fitting(network, self.config, self.data, self.seed)
        if self.course.begun:
            network.load_state_dict(self.latest)
            fitting.average.restore(self.averaged, self.course.steps)
            fitting.restore_moments(self.moments)
        elif kind != WIDE_AND_DEEP:
            self._judge(kind, network)
        return fitting

    def _epochs(self, kind: Kind, fitting: Fitting, progress: Progress) -> None:
        config, course = self.config, self.course
        progress.stage(f"{kind} slates, at most", len(fitting.slates) * (config.epochs - course.begun))
        while kind not in course.finished:
            started_s, started_cpu_s = time.monotonic(), time.process_time()
            loss = fitting.epoch(course.begun, progress)
            with fitting.average.swapped_in():
                reached = self._judge(kind, fitting.network)
            course.stale = 0 if reached > course.peak else course.stale + 1
            course.peak = max(course.peak, reached)
            course.epoch, course.begun, course.steps = course.epoch + 1, course.begun + 1, fitting.average.steps
            course.din_epochs += kind == DIN
            course.seconds += time.monotonic() - started_s
            course.cpu_seconds += self.workers.sum([time.process_time() - started_cpu_s])[0]
            course.examples += len(fitting.slates.labels_NH)
            if course.begun == config.epochs or course.stale == config.patience:
                course.finished.append(kind)
                course.begun, course.stale, course.peak = 0, 0, 0.0
            self.latest, self.averaged = fitting.network.state_dict(), fitting.average.weights
            self.moments = fitting.moments()
            self._keep({"loss": loss, "auc": reached, "kind": float(KINDS.index(kind))})

    def _judge(self, kind: Kind, network: RankerNetwork) -> float:
        """Its AUC on validation; the best of its kind so far is kept."""
        held = self.data.slates["validation"]
        logits_N = network_logits(network.eval(), held.inputs)[:, self.main]
        reached = self.workers.from_first([auc(logits_N, held.labels_NH[:, self.main])])[0]
        if reached > self.course.best_auc.get(kind, 0.0):
            self.course.best_auc[kind] = reached
            self.best[kind] = {name: value.clone() for name, value in network.state_dict().items()}
        return reached

    def _fresh(self, kind: Kind) -> RankerNetwork:
        torch.manual_seed(self.seed)
        network = RankerNetwork(self.data.state.sizes(), self.config.network, kind)
        network.start_items(self.data.item_vectors)
        train = self.data.slates["train"].inputs
        recent_XF = np.concatenate([one.recent_RF for one in train])
        network.standardise("features", np.concatenate([one.features_CF for one in train]))
        network.standardise("context", np.stack([one.context_U for one in train]))
        network.standardise("recent", recent_XF[recent_XF[:, 0] > 0] if recent_XF.any() else recent_XF)
        for value in network.state_dict().values():
            self.workers.take_from_first(value)
        return network

    def _keep(self, line: Mapping[str, float]) -> None:
        self.course.curve.append({"epoch": float(self.course.epoch), **line})
        told = {"epoch": float(self.course.din_epochs), **line}
        if self.report.rank > 0:
            self.report(told)
            return
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            save_file(self.latest, folder / LATEST_FILE)
            save_file(self.averaged, folder / AVERAGE_FILE)
            save_file(self.moments, folder / MOMENTS_FILE)
            for kind, weights in self.best.items():
                save_file(weights, folder / f"best-{kind}.safetensors")
            write_json(folder / STATE_FILE, asdict(self.course))
            self.report(told, folder)

    def _resume(self, folder: Path) -> None:
        """Weights, their average, the optimizer's moments and the course."""
        self.course = RankerCourse(**json.loads((folder / STATE_FILE).read_text(encoding="utf-8")))
        self.latest, self.averaged = load_file(folder / LATEST_FILE), load_file(folder / AVERAGE_FILE)
        self.moments = load_file(folder / MOMENTS_FILE)
        for kind in self.course.best_auc:
            self.best[kind] = load_file(folder / f"best-{kind}.safetensors")
