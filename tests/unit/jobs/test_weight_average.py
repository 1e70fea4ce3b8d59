"""The average of the weights that is judged and served."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.jobs.weight_average import WeightAverage


def walked(average: WeightAverage, module: nn.Linear, values: list[float]) -> None:
    for value in values:
        with torch.no_grad():
            module.weight.fill_(value)
        average.update()


def test_it_follows_the_weights_and_forgets_where_they_began() -> None:
    module = nn.Linear(1, 1, bias=False)
    average = WeightAverage(module, 0.9)
    walked(average, module, [5.0] * 200)
    assert average.weights["weight"].item() == pytest.approx(5.0)


def test_it_lies_between_the_weights_of_the_last_steps() -> None:
    module = nn.Linear(1, 1, bias=False)
    average = WeightAverage(module, 0.9)
    walked(average, module, [1.0, 3.0] * 100)
    # a = .9 b + .1 x 3 after a step at 3, b = .9 a + .1 x 1 after one at 1
    assert average.weights["weight"].item() == pytest.approx(0.39 / 0.19, rel=1e-4)


def test_it_is_swapped_in_for_a_block_even_if_that_fails() -> None:
    module = nn.Linear(1, 1, bias=False)
    average = WeightAverage(module, 0.9)
    walked(average, module, [1.0, 3.0] * 100)
    averaged = average.weights["weight"].item()

    def fail() -> None:
        assert module.weight.item() == averaged
        raise RuntimeError

    with pytest.raises(RuntimeError), average.swapped_in():
        fail()
    assert module.weight.item() == 3.0
    assert average.weights["weight"].item() == averaged


def test_without_decay_there_is_none() -> None:
    module = nn.Linear(1, 1, bias=False)
    average = WeightAverage(module, 0.0)
    walked(average, module, [1.0, 3.0])
    with average.swapped_in():
        assert module.weight.item() == 3.0
    assert average.weights == {}
