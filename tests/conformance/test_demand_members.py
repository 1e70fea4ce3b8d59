"""What every way to forecast keeps: shape, rows that stand alone, nothing of the future, a bundle without code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.demand_shop import small_panel
from training.features.demand import Panel, Window, fill
from training.jobs.forecaster_fits import fit_member
from training.models.demand.member import Fitting, Member
from training.models.demand.registry import MEMBERS, load_member

HORIZON, MEMORY, TOLERANCE = 6, 120, 1e-5


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    return small_panel(tmp_path_factory.mktemp("shop"))


def fitting_of(panel: Panel, back: int = HORIZON) -> Fitting:
    cut_S = np.full(len(panel), panel.end - 1 - back)
    return Fitting(
        panel=panel.until(cut_S), cut_S=cut_S, horizon=HORIZON, memory=MEMORY, country="US", rounds=20, epochs=1
    )


def window_of(panel: Panel, back: int = HORIZON) -> Window:
    return fill(panel.window(panel.end - 1 - back, length=MEMORY, horizon=HORIZON), panel.schema)


@pytest.fixture(scope="module")
def members(panel: Panel) -> dict[str, Member]:
    return {name: fit_member(name, fitting_of(panel)) for name in MEMBERS}


@pytest.mark.parametrize("name", MEMBERS)
def test_rows_stand_alone_and_survive_the_bundle(
    members: dict[str, Member], panel: Panel, name: str, tmp_path: Path
) -> None:
    window, member = window_of(panel), members[name]
    mean_SH = member.forecast(window)
    assert mean_SH.shape == (len(panel), HORIZON)
    assert np.isfinite(mean_SH).all()
    assert member.name == name
    alone = member.forecast(window.take([3]))[0]
    assert np.allclose(alone, mean_SH[3], rtol=TOLERANCE)
    member.save(tmp_path / name)
    assert {path.suffix for path in (tmp_path / name).rglob("*") if path.is_file()} <= {".json", ".safetensors", ".txt"}
    assert np.allclose(load_member(name, tmp_path / name).forecast(window), mean_SH, rtol=TOLERANCE)


@pytest.mark.parametrize("name", MEMBERS)
def test_series_that_nobody_has_met(members: dict[str, Member], panel: Panel, name: str) -> None:
    window = window_of(panel)
    strange = replace(
        window.series, series_id=tuple(f"new {row}" for row in range(len(panel))), item_id=("?",) * len(panel)
    )
    empty = np.full_like(window.demand_ST, np.nan)
    assert np.isfinite(members[name].forecast(replace(window, series=strange))).all()
    assert (members[name].forecast(replace(window, series=strange, demand_ST=empty)) == 0).all()


@pytest.mark.parametrize("name", MEMBERS)
def test_a_planted_leak_is_caught(panel: Panel, members: dict[str, Member], name: str) -> None:
    """Whatever comes after the origin, demand or past-only covariates, changes neither the fit nor the forecast."""
    later = panel.first + np.arange(panel.demand_SP.shape[1]) > panel.end - 1 - HORIZON
    planted = replace(
        panel,
        demand_SP=np.where(later, 1e6, panel.demand_SP),
        covariates={**panel.covariates, "weather": np.where(later, 1e6, panel.covariates["weather"])},
    )
    cut_S = np.full(len(panel), panel.end - 1 - HORIZON)
    fitting = replace(fitting_of(panel), panel=planted.until(cut_S))
    window = fill(planted.window(cut_S, length=MEMORY, horizon=HORIZON), planted.schema)
    assert np.allclose(
        fit_member(name, fitting).forecast(window), members[name].forecast(window_of(panel)), rtol=TOLERANCE
    )


def test_the_leak_test_would_see_a_leak(panel: Panel) -> None:
    """A covariate wrongly declared as known ahead does reach the window, a past-only one does not."""
    window = panel.window(panel.end - 1 - HORIZON, length=MEMORY, horizon=HORIZON)
    assert set(window.future) == {"price", "promotion"}
    told = panel.schema.covariates["weather"].model_copy(update={"kind": "known_future"})
    schema = panel.schema.model_copy(update={"covariates": {**panel.schema.covariates, "weather": told}})
    leaking = replace(panel, schema=schema).window(panel.end - 1 - HORIZON, length=MEMORY, horizon=HORIZON)
    assert np.array_equal(leaking.future["weather"], panel.covariates["weather"][:, -HORIZON - 8 : -8])


@pytest.mark.parametrize("name", ["lightgbm", "price_regression", "hybrid_network"])
def test_who_uses_covariates_says_so(members: dict[str, Member], panel: Panel, name: str) -> None:
    window, member = window_of(panel), members[name]
    assert {"price", "promotion"} <= member.uses
    price_SH = window.future["price"]
    cheaper = {**window.future, "price": price_SH * 0.7, "promotion": np.ones_like(price_SH)}
    assert member.forecast(replace(window, future=cheaper)).sum() > member.forecast(window).sum()
