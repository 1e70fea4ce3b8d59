"""Recursions against statsforecast, sums that agree, intervals that cover, scores by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.features.demand import SeriesTable
from training.models.demand.boosted import _plain
from training.models.demand.hierarchy import Hierarchy
from training.models.demand.intervals import Intervals
from training.models.demand.scores import Judged
from training.models.demand.smoothing import AutoEts, Theta, _Smoothing


def one(kind: type[_Smoothing], history: np.ndarray, season: int) -> _Smoothing:
    (numbers,) = kind.fit_block([history], season)
    assert numbers is not None
    rows = {name: np.array([value]) for name, value in numbers.items() if name != "seasonal"}
    return kind(["a"], np.array([len(history) - 1]), rows, np.array([numbers["seasonal"]]))


def history(season: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wave = 12 * np.sin(2 * np.pi * np.arange(96) / 12) if season > 1 else 0.0
    return 100 + np.cumsum(rng.normal(0.4, 1, 96)) + wave


@pytest.mark.parametrize("season", [1, 12])
@pytest.mark.parametrize("seed", range(4))
def test_ets_runs_on_as_statsforecast_does(season: int, seed: int) -> None:
    from statsforecast.models import AutoETS

    demand = history(season, seed)
    kept = one(AutoEts, demand, season)
    said = kept._ahead({k: v.copy() for k, v in kept.numbers.items()}, kept.season_SM.copy(), np.array([0]), 15)
    assert np.allclose(said[0], AutoETS(season_length=season).fit(demand).predict(15)["mean"], rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_theta_runs_on_as_statsforecast_does(seed: int) -> None:
    from statsforecast.models import Theta as Fitted

    demand = history(1, seed)
    kept = one(Theta, demand, 1)
    said = kept._ahead({k: v.copy() for k, v in kept.numbers.items()}, kept.season_SM.copy(), np.array([0]), 9)
    assert np.allclose(said[0], Fitted(season_length=1).fit(demand).predict(9)["mean"], rtol=1e-6)


def table() -> SeriesTable:
    ids = [(f"i{item}", f"p{place}") for item in range(4) for place in range(3)]
    return SeriesTable(
        series_id=tuple("@".join(pair) for pair in ids), item_id=tuple(item for item, _ in ids),
        location=tuple(place for _, place in ids),
        static={"category": tuple("ab"[int(item[1]) // 2] for item, _ in ids)},
    )  # fmt: skip


def test_reconciled_sums_agree_at_every_level() -> None:
    rng = np.random.default_rng(0)
    hierarchy = Hierarchy.of(table())
    assert {level for level, _ in hierarchy.nodes} == {"total", "item", "location", "category"}
    base_SH, sums_NH = rng.gamma(2, 50, (12, 5)), rng.gamma(2, 150, (len(hierarchy.nodes), 5))
    fixed_SH, agreed_NH = hierarchy.reconcile(base_SH, sums_NH, rng.gamma(2, 9, 12), rng.gamma(2, 9, len(sums_NH)))
    told = list(zip(table().item_id, table().location, table().static["category"], strict=True))
    by_hand = {
        (level, key): sum(fixed_SH[row] for row, values in enumerate(told) if key in values or level == "total")
        for level, key in hierarchy.nodes
    }
    for row, node in enumerate(hierarchy.nodes):
        assert np.abs(agreed_NH[row] - by_hand[node]).max() < 1e-6


def test_mint_is_the_least_squares_solution_and_moves_the_unsure_most() -> None:
    rng = np.random.default_rng(1)
    hierarchy = Hierarchy.of(table())
    base, sums = rng.gamma(2, 50, (12, 1)), rng.gamma(2, 150, (len(hierarchy.nodes), 1))
    variance_S, variance_N = rng.gamma(2, 9, 12), rng.gamma(2, 9, len(sums))
    fixed, _ = hierarchy.reconcile(base, sums, variance_S, variance_N)
    stacked = np.vstack([np.eye(12), hierarchy.member_NS.toarray()])
    weight = np.sqrt(1 / np.r_[variance_S, variance_N])[:, None]
    expected, *_ = np.linalg.lstsq(stacked * weight, np.vstack([base, sums]) * weight, rcond=None)
    assert np.allclose(fixed, expected, rtol=1e-8)


def test_intervals_cover_what_is_like_what_they_were_fitted_on() -> None:
    rng = np.random.default_rng(2)
    scores = rng.standard_t(4, (600, 8)) * np.linspace(1, 2, 8)
    intervals = Intervals.fit(8, ["level"] * 600, scores)
    said_SQH = intervals.quantiles(np.full((1, 8), 5.0), np.ones((1, 8)), ["level"], (0.1, 0.5, 0.9))
    fresh = 5 + rng.standard_t(4, (4000, 8)) * np.linspace(1, 2, 8)
    covered = ((fresh >= said_SQH[0, 0]) & (fresh <= said_SQH[0, 2])).mean()
    assert covered == pytest.approx(0.8, abs=0.03)
    assert (np.diff(said_SQH[0], axis=0) >= 0).all()


def test_scores_by_hand() -> None:
    actual, mean = np.array([[10.0, np.nan], [0.0, 4.0]]), np.array([[8.0, 5.0], [0.0, 2.0]])
    quantiles = np.stack([mean - 1, mean, mean + 3], axis=1)
    scores = Judged(actual, mean, np.array([2.0, 0.0]), quantiles).scores()
    assert scores["wape"] == pytest.approx(4 / 14)
    assert scores["mase"] == pytest.approx(1.0)
    assert scores["smape"] == pytest.approx((200 * 2 / 18 + 0 + 200 * 2 / 6) / 3)
    assert scores["scale_0"] == 1
    assert scores["coverage_80"] == pytest.approx(1.0)
    assert scores["pinball"] == pytest.approx(
        np.mean([0.1 * 3, 0.1 * 1, 0.1 * 3, 0.5 * 2, 0.0, 0.5 * 2, 0.1 * 1, 0.1 * 3, 0.1 * 1])
    )


def test_columns_whose_names_are_alike_are_told_apart() -> None:
    assert _plain(["past:x a", "past:x-a", "lag1"]) == ["past_x_a", "past_x_a__1", "lag1"]
