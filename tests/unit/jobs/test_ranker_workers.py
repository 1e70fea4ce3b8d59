"""The ranker on two workers: one result, one loss, different examples."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.brand_shop import SMALL, write_recommender, write_shop
from tests.ranker_workers import run
from training.contracts.errors import InputError
from training.jobs.ranker import JOB, RankerConfig
from training.jobs.ranker_fitting import Fitting
from training.models.ranker_network import RankerNetwork

Ranks = list[dict[str, Any]]


def config_of(folder: Path) -> RankerConfig:
    shop = write_shop(folder / "shop", log=True)
    upstream = {"recommender": str(write_recommender(shop, folder / "home"))}
    return RankerConfig.model_validate({**SMALL, "epochs": 1, "upstream": upstream})


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    folder = tmp_path_factory.mktemp("workers")
    config = config_of(folder)
    return run(write_shop(folder / "again", log=True), config, folder / "two", 2)


def test_the_first_worker_alone_writes_the_bundle_and_judges_it(ranks: Ranks) -> None:
    first, second = ranks
    assert first["wrote"]
    assert first["metrics"]["auc"] > 0.7
    assert not second["wrote"]
    assert second["metrics"] == {}


def test_workers_learn_from_different_examples_with_the_same_weights(ranks: Ranks) -> None:
    first, second = (rank["steps"] for rank in ranks)
    assert len(first) == len(second) > 3
    for one, other in zip(first, second, strict=True):
        assert set(one["slates"]).isdisjoint(other["slates"])
        assert one["choices"] != other["choices"]
        assert one["norm"] == other["norm"]


def test_the_loss_that_is_watched_is_that_of_all_workers(ranks: Ranks) -> None:
    first, second = (rank["steps"] for rank in ranks)
    for one, other in zip(first, second, strict=True):
        assert one["loss"] == other["loss"]
        assert one["loss"] == pytest.approx(np.mean([one["own"], other["own"]]), rel=1e-5)
    assert any(one["own"] != other["own"] for one, other in zip(first, second, strict=True))


def test_more_workers_than_slates_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(tmp_path)
    data = JOB.load(write_shop(tmp_path / "again", log=True), config)
    network = RankerNetwork(data.state.sizes(), config.network, "din")
    monkeypatch.setattr("training.jobs.ranker_fitting.Workers", lambda: SimpleNamespace(rank=0, size=10**6))
    with pytest.raises(InputError, match="more workers than slates"):
        Fitting(network, config, data, seed=0)
