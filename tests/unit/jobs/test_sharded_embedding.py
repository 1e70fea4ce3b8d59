"""Item rows dealt over workers: equal to one process that has them all, and restored by any number of workers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.gloo_workers import HISTORIES, ITEMS, SEED, SIZES, do, run, training
from training.jobs.packing import Compact
from training.jobs.train_step import BETAS
from training.jobs.workers import Workers
from training.losses import sampled_softmax_loss
from training.models.sequence_transformer import SequenceTransformer, Tower

WORKERS, EPOCHS = 2, 2
LEARNING_RATE, WEIGHT_DECAY = 0.01, 0.01
OPTIMIZERS = ("adamw", "rowwise_adagrad")


def settings(**changes: Any) -> dict[str, Any]:
    return {"epochs": EPOCHS, "sharded_items": 0, **changes}


def name(optimizer: str, dealt: bool) -> str:
    return f"{optimizer}-{'dealt' if dealt else 'whole'}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two workers leave, by optimiser, with the rows dealt and with all rows on each; and of one, gone on with."""
    folder = tmp_path_factory.mktemp("two")
    handed = {"settings": settings(), "checkpoints": str(folder / "handed"), "out": str(folder / "one")}
    do(Workers(), handed)
    tasks = [
        {
            "settings": settings(item_optimizer=optimizer, sharded_items=0 if dealt else None),
            "checkpoints": str(folder / name(optimizer, dealt) / "checkpoints"),
            "out": str(folder / name(optimizer, dealt)),
        }
        for optimizer in OPTIMIZERS
        for dealt in (True, False)
    ]
    run(WORKERS, [*tasks, {**handed, "settings": settings(epochs=EPOCHS + 1), "out": str(folder / "handed-over")}])
    return folder


class DenseOracle:
    """One process that does all workers' batches over the whole catalogue, with plain autograd."""

    def __init__(self, optimizer: str) -> None:
        self.training = training(Workers(), **settings(item_optimizer=optimizer))
        # As many steps as the workers take.
        self.training.steps_per_epoch = -(-self.training.steps_per_epoch // WORKERS)
        source = self.training.tower
        assert source.content is not None
        assert self.training.state.table is not None
        self.tower = Tower(ITEMS, SIZES, repeats=True, content=copy.deepcopy(source.content))
        rows = self.training.state.table.weight_RD.clone()
        self.tower.load_state_dict({**source.state_dict(), "item.weight": rows})
        self.training.step.tower = self.training.step._forward = self.tower
        dense = [parameter for key, parameter in self.tower.named_parameters() if key != "item.weight"]
        self.dense = torch.optim.AdamW(dense, lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY)
        self.rows = {"adamw": self._adamw, "rowwise_adagrad": self._adagrad}[optimizer]
        self.moments = [torch.zeros(ITEMS), torch.zeros(ITEMS, SIZES.dim), torch.zeros(ITEMS, SIZES.dim)]

    def run(self) -> Tower:
        for epoch in range(1, EPOCHS + 1):
            rngs = [np.random.Generator(np.random.SFC64([SEED, epoch, rank])) for rank in range(WORKERS)]
            workers = [Workers() for _ in range(WORKERS)]
            for rank, each in enumerate(workers):
                each.rank, each.size = rank, WORKERS
            plans = [self._steps(each, epoch) for each in workers]
            for step in range(self.training.steps_per_epoch):
                self._step([(plans[rank][step], rngs[rank]) for rank in range(WORKERS)])
        return self.tower

    def _steps(self, workers: Workers, epoch: int) -> Any:
        self.training.workers = workers
        return self.training._own_steps(epoch)

    def _step(self, parts: list[Any]) -> None:
        self.tower.zero_grad()
        touched = torch.zeros(ITEMS, dtype=torch.bool)
        for users, rng in parts:
            batch = self.training.packing.batch(users)
            negatives_S = self.training.step.sampler.draw(rng)
            touched[Compact.of(batch, negatives_S).codes_K] = True
            items_ID, log_q_I = self.tower.item_vectors(), self.training.step.sampler.log_q(torch.arange(ITEMS))
            x_PD, bonus = self.training.step._read(batch, items_ID)
            loss = sampled_softmax_loss(x_PD, items_ID, batch.targets_P, negatives_S, log_q_I, bonus=bonus)
            (loss / WORKERS).backward()
        self.dense.step()
        embedding = self.tower.item
        assert isinstance(embedding, nn.Embedding)
        assert embedding.weight.grad is not None
        with torch.no_grad():
            self.rows(embedding.weight, embedding.weight.grad, touched)

    def _adagrad(self, weight: Tensor, gradient: Tensor, touched: Tensor) -> None:
        self.moments[0] += gradient.pow(2).mean(dim=1) * touched
        weight -= touched[:, None] * LEARNING_RATE * gradient / (self.moments[0].sqrt() + 1e-8)[:, None]

    def _adamw(self, weight: Tensor, gradient: Tensor, touched: Tensor) -> None:
        steps, mean, square = self.moments
        for row in touched.nonzero()[:, 0].tolist():
            steps[row] += 1
            mean[row] = 0.9 * mean[row] + 0.1 * gradient[row]
            square[row] = 0.999 * square[row] + 0.001 * gradient[row] ** 2
            weight[row] *= 1 - LEARNING_RATE * WEIGHT_DECAY
            unbiased = (square[row] / (1 - 0.999 ** steps[row])).sqrt() + 1e-8
            weight[row] -= LEARNING_RATE * mean[row] / (1 - 0.9 ** steps[row]) / unbiased


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_workers_equal_one_process_that_has_all_rows(trained: Path, optimizer: str) -> None:
    expected = SequenceTransformer(DenseOracle(optimizer).run())
    for dealt in (True, False):
        found = np.load(trained / name(optimizer, dealt) / "model.npz")
        assert np.abs(found["items"] - expected.item_vectors_ID).max() < 1e-5
        assert np.abs(found["scores"] - expected.score(HISTORIES)).max() < 1e-5


def test_each_worker_holds_every_second_row(trained: Path) -> None:
    folder = trained / name("adamw", True)
    first, second = (np.load(folder / f"rows-{shard}-of-2.npz") for shard in (0, 1))
    assert [len(first["weight"]), len(second["weight"])] == [19, 18]
    whole = np.load(trained / name("adamw", False) / "rows-0-of-1.npz")
    assert np.allclose(whole["weight"][1::2], second["weight"], atol=1e-5)
    course = json.loads((folder / "course.json").read_text())
    assert all(line["sent_kb_per_step"] > 0 and line["transfer_ms_per_step"] > 0 for line in course["curve"])


def rows_of(folder: Path) -> dict[str, np.ndarray]:
    """The table that the workers of `folder` hold together."""
    parts = sorted(folder.glob("rows-*.npz"), key=lambda path: int(path.stem.split("-")[1]))
    loaded = [np.load(path) for path in parts]
    whole = {}
    for key in loaded[0]:
        rows = np.zeros((ITEMS, *loaded[0][key].shape[1:]), np.float32)
        for shard, part in enumerate(loaded):
            rows[shard :: len(loaded)] = part[key]
        whole[key] = rows
    return whole


def test_a_checkpoint_is_restored_by_other_numbers_of_workers(trained: Path, tmp_path: Path) -> None:
    restored = [
        {
            "settings": settings(item_optimizer=optimizer),
            "checkpoints": str(trained / name(optimizer, True) / "checkpoints"),
            "out": str(tmp_path / f"{optimizer}-3"),
        }
        for optimizer in OPTIMIZERS
    ]
    run(3, restored)
    for optimizer, task in zip(OPTIMIZERS, restored, strict=True):
        do(Workers(), {**task, "out": str(tmp_path / f"{optimizer}-1")})
        saved = trained / name(optimizer, True)
        for shards in (1, 3):
            folder = tmp_path / f"{optimizer}-{shards}"
            assert len(list(folder.glob("rows-*"))) == shards
            expected, found = rows_of(saved), rows_of(folder)
            assert set(found) == set(expected)
            assert all(np.array_equal(found[key], expected[key]) for key in expected)
            before, after = np.load(saved / "model.npz"), np.load(folder / "model.npz")
            assert all(np.allclose(before[key], after[key], atol=1e-6) for key in before)


def test_one_worker_hands_over_to_two_that_go_on(trained: Path) -> None:
    course = json.loads((trained / "handed-over" / "course.json").read_text())
    assert course["resumed_after"] == [EPOCHS]
    assert course["epoch"] == EPOCHS + 1
    moved = rows_of(trained / "handed-over")["squares"] - rows_of(trained / "one")["squares"]
    assert moved.min() >= 0 < moved.max()
