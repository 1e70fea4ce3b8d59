"""What a training has learnt: weights, the optimisers' moments, the best epoch's weights; kept in checkpoints."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.contracts.atomic import write_json
from training.jobs.course import Course
from training.jobs.sharded_embedding import ShardedEmbedding
from training.jobs.train_step import TrainStep
from training.models.sequence_transformer import SequenceTransformer

TENSORS_FILE = "checkpoint.safetensors"
STATE_FILE = "checkpoint.json"
BEST, AVERAGE = "best.", "average."
AVERAGED_STEPS = "averaged_steps"
ITEM_ROWS, BEST_ITEM_ROWS = "items", "best-items"
ITEMS_PER_PIECE = 1 << 16
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class TrainingState:
    """The tower, its average, its optimiser and where present its table of item rows, with the best of them so far.

    Every worker holds the same tower; a table that is dealt over the workers is saved by each of them and may be
    restored by another number of workers.
    """

    def __init__(self, step: TrainStep, *, items: int) -> None:
        self.tower, self.optimizer, self.average = step.tower, step.optimizer, step.average
        self.items, self.workers = items, step.workers
        tower = step.tower
        self.table = tower.item if isinstance(tower.item, ShardedEmbedding) else None
        self._folder = tempfile.TemporaryDirectory()
        self._best_rows = Path(self._folder.name)
        self.keep_as_best()

    def keep_as_best(self) -> None:
        """In memory; the rows of a table in files."""
        self._best = {name: tensor.detach().clone() for name, tensor in self.tower.state_dict().items()}
        if self.table is not None:
            self.table.save(self._best_rows, BEST_ITEM_ROWS, moments=False)

    def take_best(self) -> None:
        self.tower.load_state_dict(self._best)
        if self.table is not None:
            self.table.load(self._best_rows, BEST_ITEM_ROWS, moments=False)

    @torch.no_grad()
    def model(self) -> SequenceTransformer | None:
        """The tower as it is, on rank 0; every rank must ask, for the rows of a table come from all of them."""
        first, device = self.workers.rank == 0, self.workers.device
        if self.table is None:
            return SequenceTransformer(self.tower) if first else None
        items_ID = torch.empty(self.items if first else 0, self.table.dim, device=device)
        for start in range(0, self.items, ITEMS_PER_PIECE):
            codes = torch.arange(start, min(start + ITEMS_PER_PIECE, self.items), device=device)
            if first:
                items_ID[codes] = self.tower.item_vectors(codes)
            else:
                self.table(codes[:0])
        return SequenceTransformer(self.tower, items_ID) if first else None

    def save(self, folder: Path, course: Course) -> None:
        """This worker's part of a checkpoint; the parts of all workers in one folder are the whole."""
        if self.workers.rank == 0:
            save_file(self._tensors(), folder / TENSORS_FILE)
            write_json(folder / STATE_FILE, {**vars(course), AVERAGED_STEPS: self.average.steps})
        if self.table is not None and self.table.holds_files:
            self.table.save(folder, ITEM_ROWS, moments=True)
            for path in self._best_rows.iterdir():
                (folder / path.name).write_bytes(path.read_bytes())

    def restore(self, folder: Path) -> Course:
        """How far the training was that left this checkpoint."""
        document: dict[str, Any] = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        if self.table is not None:
            self.table.load(folder, BEST_ITEM_ROWS, moments=False)
            self.keep_as_best()
            self.table.load(folder, ITEM_ROWS, moments=True)
        tensors = load_file(folder / TENSORS_FILE, device=str(self.workers.device))
        self.tower.load_state_dict({name: tensors[name] for name in self._best})
        self._best = {name: tensors[BEST + name] for name in self._best}
        averages = {name: tensors[AVERAGE + name] for name in self.average.weights}
        self.average.restore(averages, document.pop(AVERAGED_STEPS))
        for name, parameter in self.tower.named_parameters():
            self.optimizer.state[parameter] = {moment: tensors[f"{moment}.{name}"] for moment in MOMENTS}
        return Course(**document)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {name: tensor.detach().clone() for name, tensor in self.tower.state_dict().items()}
        tensors |= {BEST + name: tensor for name, tensor in self._best.items()}
        tensors |= {AVERAGE + name: tensor for name, tensor in self.average.weights.items()}
        names = {parameter: name for name, parameter in self.tower.named_parameters()}
        for parameter, state in self.optimizer.state.items():
            tensors |= {f"{moment}.{names[parameter]}": state[moment] for moment in MOMENTS}
        return {name: tensor.contiguous() for name, tensor in tensors.items()}
