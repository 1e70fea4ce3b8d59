"""A loss that goes wrong stops the run, whatever it goes wrong by."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.gloo_workers import training
from training.contracts.errors import ShopkeeperError
from training.contracts.progress import NoProgress
from training.jobs.divergence import WINDOW_STEPS, LossWatch
from training.jobs.job import LocalReport
from training.jobs.workers import Workers

ITEMS = 100
GUESS = math.log(ITEMS)


@pytest.mark.parametrize(
    ("loss", "norm", "said"),
    [
        (math.nan, 1.0, "the loss is nan"),
        (math.inf, 1.0, "the loss is inf"),
        (1.0, math.nan, "gradient's norm is nan"),
        (1e6, 1.0, "exploded"),
    ],
)
def test_one_step_can_be_enough(loss: float, norm: float, said: str) -> None:
    watch = LossWatch(ITEMS, largest=4.0)
    assert watch.fault(GUESS, 1.0) is None
    assert said in str(watch.fault(loss, norm))


def test_a_hard_batch_is_no_explosion_but_many_are() -> None:
    watch = LossWatch(ITEMS, largest=4.0)
    for _ in range(3):
        assert all(watch.fault(loss, 1.0) is None for loss in [GUESS] * WINDOW_STEPS + [10 * GUESS] * 4)
    faults = [watch.fault(5 * GUESS, 1.0) for _ in range(WINDOW_STEPS)]
    assert faults[0] is None
    assert "exploded" in str(faults[-1])


def test_a_model_that_begins_high_is_measured_by_its_own_beginning() -> None:
    watch = LossWatch(ITEMS, largest=4.0)
    assert not any(watch.fault(10 * GUESS, 1.0) for _ in range(2 * WINDOW_STEPS))
    assert watch.lasting_fault() is None


@pytest.mark.parametrize("full_softmax_items", [0, 1000])
def test_an_explosion_says_where_and_keeps_the_last_good_checkpoint(full_softmax_items: int, tmp_path: Path) -> None:
    settings = {"full_softmax_items": full_softmax_items, "patience": 99}
    training(Workers(), **settings, epochs=2).run(lambda _: 0.5, LocalReport(tmp_path), NoProgress())
    wild = training(Workers(), **settings, epochs=9, learning_rate=1e6, item_learning_rate=1e6)
    with pytest.raises(ShopkeeperError) as stopped:
        wild.run(lambda _: 0.5, LocalReport(tmp_path), NoProgress())
    said = str(stopped.value)
    assert "at epoch 3, step " in said
    assert f"the checkpoint of epoch 2 is kept in {tmp_path / 'epoch-002'}" in said
    assert "learning_rate below 1e+06" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-001", "epoch-002"]
    rest = training(Workers(), **settings, epochs=3)
    rest.run(lambda _: 0.5, LocalReport(tmp_path), NoProgress())
    assert rest.course.epoch == 3
    assert math.isfinite(rest.course.curve[-1]["loss"])
