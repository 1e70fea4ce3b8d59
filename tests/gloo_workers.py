"""A small training on several gloo workers without Ray: `run` starts them, each a process of this module."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import distributed

from training.contracts.progress import NoProgress
from training.features.sequences import Histories, Split, leave_one_out
from training.jobs.job import LocalReport
from training.jobs.training_config import TrainingConfig
from training.jobs.transformer_training import TransformerTraining
from training.jobs.workers import Workers
from training.models.item_content import ItemContent
from training.models.sequence_transformer import TransformerConfig

USERS, ITEMS, SEED = 60, 37, 3
SIZES = TransformerConfig(dim=8, dropout=0.0, token_dropout=0.0, max_len=12)
SMALL = {
    "tokens_per_step": 60, "negatives": 11, "learning_rate": 0.01, "item_learning_rate": 0.01,
    "weight_decay": 0.01,
    "full_softmax_items": 0, "patience": 99,
}  # fmt: skip
HISTORIES = [np.arange(length, dtype=np.int32) * 5 % ITEMS for length in (1, 4, 9)]


def split() -> Split:
    rng = np.random.default_rng(SEED)
    lengths_U = rng.integers(3, 12, USERS)
    codes_N = rng.integers(0, ITEMS, lengths_U.sum()).astype(np.int32)
    return leave_one_out(
        Histories(
            user_ids=[f"u{user:02d}" for user in range(USERS)],
            offsets_U=np.concatenate([[0], np.cumsum(lengths_U)]).astype(np.int64),
            codes_N=codes_N,
            timestamps_us_N=np.arange(len(codes_N), dtype=np.int64),
            positive_N=np.ones(len(codes_N), np.bool_),
        )
    )


def content() -> ItemContent:
    features_IF = sparse.random(ITEMS, 9, 0.3, format="csr", dtype=np.float32, random_state=SEED)
    return ItemContent(SIZES.dim, features_IF=features_IF, text_IT=None, id_dropout=0.0)


def training(workers: Workers, **settings: Any) -> TransformerTraining:
    return TransformerTraining(
        SIZES, TrainingConfig.model_validate({**SMALL, **settings}), split(), ITEMS,
        seed=SEED, workers=workers, repeats=True,
        content=content(),
    )  # fmt: skip


class SharedReport(LocalReport):
    """Checkpoints of all ranks in one folder, as Ray Train merges them."""

    def __init__(self, folder: Path, rank: int) -> None:
        super().__init__(folder)
        self.rank = rank

    def __call__(self, metrics: Any, checkpoint: Path | None = None) -> Path | None:
        target = self.folder / f"epoch-{int(metrics['epoch']):03d}"
        target.mkdir(parents=True, exist_ok=True)
        for path in checkpoint.iterdir() if checkpoint is not None else ():
            (target / path.name).write_bytes(path.read_bytes())
        return target


def run(workers: int, tasks: list[dict[str, Any]]) -> None:
    """Do the tasks one after the other: each a training's settings, `checkpoints` and `out`, folders."""
    with tempfile.TemporaryDirectory() as scratch:
        commands = [
            [sys.executable, "-m", "tests.gloo_workers", f"{scratch}/store", str(rank), str(workers), json.dumps(tasks)]
            for rank in range(workers)
        ]
        running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
        said = [process.communicate(timeout=240)[1] for process in running]
    assert not any(process.returncode for process in running), "\n".join(said)


def do(workers: Workers, task: dict[str, Any]) -> None:
    """Train, then write what this rank holds: the model on rank 0, rows and moments of each worker's part."""
    out, report = Path(task["out"]), SharedReport(Path(task["checkpoints"]), workers.rank)
    out.mkdir(parents=True, exist_ok=True)
    found = training(workers, **task["settings"])
    model = found.run(lambda _: float(found.course.epoch), report, NoProgress())
    if model is not None:
        np.savez(out / "model.npz", items=model.item_vectors_ID, scores=model.score(HISTORIES))
        (out / "course.json").write_text(json.dumps(vars(found.course)))
    if found.state.table is not None:
        table = found.state.table
        kept = {name: tensor.numpy() for name, tensor in table.optimizer.state.items()}
        np.savez(out / f"rows-{table.shard}-of-{table.shards}.npz", weight=table.weight_RD.numpy(), **kept)


def main(store: str, rank: int, size: int, tasks: list[dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", store=distributed.FileStore(store, size), rank=rank, world_size=size)
    for task in tasks:
        do(Workers(), task)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))
