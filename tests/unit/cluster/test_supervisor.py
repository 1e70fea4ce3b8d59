"""What `up` makes of a shop that lacks tables: it serves what the shop is fit for, and says what not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cluster.home import Home
from cluster.local import supervisor
from cluster.local.background import BackgroundProcess
from cluster.local.supervisor import Supervisor, UpOptions
from tests.picture_shop import make_picture_shop
from training.contracts.errors import InputError, Problem, ShopkeeperError
from training.contracts.shop import Shop
from training.jobs.registry import JOBS


class Ended(BackgroundProcess):
    """A training that ended with this failure."""

    def __init__(self, label: str, failure: ShopkeeperError) -> None:
        self.label, self._failure = label, failure

    def ended(self) -> int | None:
        return 1

    def failure(self) -> ShopkeeperError:
        return self._failure


@pytest.fixture
def keeper(tmp_path: Path) -> Supervisor:
    return Supervisor(Home(tmp_path / "home"), UpOptions())


def end_trainings_with(monkeypatch: pytest.MonkeyPatch, **failures: ShopkeeperError) -> None:
    """Each job with its own, else with one that names it."""

    def train(job: str, *_: object, **__: object) -> BackgroundProcess:
        return Ended(job, failures.get(job, InputError(Problem(problem=f"{job} is unfit"))))

    monkeypatch.setattr(supervisor, "train_in_background", train)


def test_a_shop_of_pictures_is_fit_for_visual_search(
    keeper: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_trainings_with(monkeypatch)
    keeper._start_training(make_picture_shop(tmp_path / "shop", each=1, tests=0))
    assert keeper.state.training == "vision"
    assert keeper.state.unfit == {
        "recommender": "the shop has no events table", "ranker": "the shop has no events table",
        "forecaster": "the shop has no sales table",
    }  # fmt: skip
    assert not keeper._is_ready({})
    assert not keeper._is_ready({"title": "Service Unavailable", "status": 503})
    assert not keeper._is_ready({"ready": False, "missing": [*JOBS]})
    assert keeper._is_ready({"ready": False, "missing": [job for job in JOBS if job != "vision"]})


def test_events_of_no_use_leave_the_pictures(
    keeper: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once nothing is left to train, the first failure ends it all."""
    shop = make_picture_shop(tmp_path / "shop", each=1, tests=0)
    shutil.copy(shop.path / "images.parquet", shop.path / "events.parquet")
    shop = Shop(shop.path)
    end_trainings_with(monkeypatch)
    keeper._start_training(shop)
    assert keeper.state.training == "recommender"
    keeper._reap_training(shop)
    assert keeper.state.unfit["recommender"] == "recommender is unfit"
    keeper._reap_training(shop)
    assert keeper.state.training == "vision"
    with pytest.raises(InputError, match="recommender is unfit"):
        keeper._reap_training(shop)


def test_a_recommender_that_breaks_ends_it_at_once(
    keeper: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_picture_shop(tmp_path / "shop", each=1, tests=0)
    shutil.copy(shop.path / "images.parquet", shop.path / "events.parquet")
    end_trainings_with(monkeypatch, recommender=ShopkeeperError("killed"))
    keeper._start_training(Shop(shop.path))
    with pytest.raises(ShopkeeperError, match="killed"):
        keeper._reap_training(Shop(shop.path))


def test_a_shop_of_no_use_at_all_ends_with_the_first_jobs_error(
    keeper: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_picture_shop(tmp_path / "shop", each=1, tests=0)
    (shop.path / "images.parquet").unlink()
    end_trainings_with(monkeypatch)
    keeper._start_training(Shop(shop.path))
    with pytest.raises(InputError, match="recommender is unfit"):
        keeper._reap_training(Shop(shop.path))
