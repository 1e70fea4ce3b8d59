"""Members that a checkpoint holds are taken as long as they are the ones asked for; all ranks agree on which."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.demand_shop import small_panel
from training.jobs import forecaster_fits
from training.jobs.forecaster_fits import BACKTEST, MemberFits
from training.jobs.job import LocalReport
from training.jobs.workers import Workers
from training.models.demand.member import Fitting
from training.models.demand.price_regression import PriceRegression
from training.models.demand.smoothing import PARAMETERS, Theta


class Told(Workers):
    """One rank of two that run one after the other: rank 0 leaves what it says, rank 1 takes it."""

    def __init__(self, rank: int, said: list[list[float]]) -> None:
        super().__init__()
        self.rank, self.said = rank, said

    def from_first(self, values: list[float]) -> list[float]:
        if self.rank:
            return self.said.pop(0)
        self.said.append(values)
        return values


@pytest.fixture(scope="module")
def fitting(tmp_path_factory: pytest.TempPathFactory) -> Fitting:
    panel = small_panel(tmp_path_factory.mktemp("shop"), items=2)
    return Fitting(panel=panel, cut_S=np.full(len(panel), panel.end - 1), horizon=4, memory=100)


def kept_members(folder: Path, fitting: Fitting, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint with the last value, theta and the median."""
    monkeypatch.setattr(forecaster_fits, "KEPT_EVERY_S", 0.0)
    fits = MemberFits(LocalReport(folder), Workers())
    for name in ("last_value", "theta", "median_26"):
        fits(BACKTEST, name, fitting)


def test_other_members_than_the_checkpoints_are_fitted_anew_on_every_rank(
    fitting: Fitting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_members(tmp_path, fitting, monkeypatch)
    said: list[list[float]] = []
    asked = ("last_value", "price_regression", "median_26")
    first = MemberFits(LocalReport(tmp_path), Told(0, said))
    found = [first(BACKTEST, name, fitting) for name in asked]
    assert isinstance(found[1], PriceRegression)
    assert first.resumed == 1
    second = MemberFits(LocalReport(tmp_path / "of rank 1"), Told(1, said))
    for name in asked:
        second.assist(name, fitting)
    assert (second.resumed, said) == (1, [])
    assert MemberFits(LocalReport(tmp_path), Workers())._kept_steps().steps == [f"{BACKTEST}/{name}" for name in asked]


def test_what_an_interrupted_training_had_cost_is_counted(
    fitting: Fitting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecaster_fits, "KEPT_EVERY_S", 0.0)
    first = MemberFits(LocalReport(tmp_path), Workers())
    first(BACKTEST, "theta", fitting)
    (kept,) = tmp_path.glob("epoch-*/steps.json")
    cost = json.loads(kept.read_text())
    again = MemberFits(LocalReport(tmp_path), Workers()).spent()
    assert again[0] > cost["seconds"] > 0
    assert again[1] > cost["cpu_seconds"] > 0


def test_series_that_could_not_be_fitted_are_still_counted_after_an_interruption(tmp_path: Path) -> None:
    member = Theta([], np.zeros(0, np.int64), {name: np.zeros(0) for name in PARAMETERS}, np.zeros((0, 1)))
    member.unfitted = 7
    member.save(tmp_path)
    assert Theta.load(tmp_path).unfitted == 7
