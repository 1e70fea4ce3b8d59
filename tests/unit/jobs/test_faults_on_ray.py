"""What a fit raises on a worker is what the driver raises: an input error stays one."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.contracts.errors import InputError, Problem, ShopkeeperError
from training.jobs.ray_train import raise_fault, write_fault


def test_a_fault_of_the_fit_reaches_the_driver_whole(tmp_path: Path) -> None:
    path = tmp_path / "fault.json"
    raise_fault(path)
    problem = Problem(table="item embeddings", problem="out of memory: 3 GiB", allowed="a smaller transformer.dim")
    write_fault(path, InputError(problem))
    with pytest.raises(InputError) as refused:
        raise_fault(path)
    assert refused.value.problems == (problem,)
    write_fault(path, ShopkeeperError("the loss is nan at epoch 2"))
    with pytest.raises(ShopkeeperError, match="nan at epoch 2") as stopped:
        raise_fault(path)
    assert stopped.value.exit_code == 1
