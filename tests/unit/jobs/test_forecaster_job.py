"""The forecaster job from a shop to a bundle that forecasts, and what it says of bad data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.demand_shop import ITEMS, PLACES, SCHEMA, WEEKS, sales_rows, write_shop
from tests.published import with_manifest
from training.contracts.covariates import CovariateSchema
from training.contracts.errors import InputError
from training.jobs.forecaster import JOB
from training.jobs.forecaster_batch import FORECASTS, ForecastBatch, series_of_shop
from training.jobs.forecaster_config import ForecasterConfig
from training.jobs.forecaster_task import task_of
from training.jobs.job import FitResult, LocalReport
from training.models.demand.history import SeriesHistory
from training.models.forecaster import Forecaster, SeriesQuery

HORIZON, ORIGINS = 4, 3
QUICK = {"horizon": HORIZON, "origins": ORIGINS, "rounds": 40, "epochs": 1, "sampled_series": 20}


def trained(folder: Path, columns: dict[str, list[object]] | None = None, **settings: object) -> FitResult:
    config = ForecasterConfig.model_validate({**QUICK, **settings})
    shop = write_shop(folder / "shop", columns)
    return JOB.fit(config, JOB.load(shop, config), LocalReport(folder / "checkpoints"), folder / "bundle")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    return trained(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def forecaster(result: FitResult) -> Forecaster:
    return Forecaster.load(result.folder)


def test_it_beats_its_baselines_and_covariates_pay(result: FitResult) -> None:
    assert {"wape", "mase", "smape", "pinball", "coverage_80"} <= set(result.metrics)
    assert {"last_value", "seasonal_naive", "median_26"} <= set(result.baselines)
    best = min(result.baselines[name]["wape"] for name in ("last_value", "seasonal_naive", "median_26"))
    assert result.metrics["wape"] < 0.6 * best
    assert result.metrics["wape"] < 0.8 * result.baselines["lightgbm_without_covariates"]["wape"]
    assert any("%" in note for note in result.notes)
    assert len(result.pictures) == 5
    assert all("<svg" in picture for picture in result.pictures.values())


def test_metrics_are_those_of_the_contract(result: FitResult, forecaster: Forecaster) -> None:
    """WAPE and coverage counted here, one origin and series at a time."""
    panel, error, total, inside, points = forecaster.panel, 0.0, 0.0, 0, 0
    for back in range(ORIGINS):
        origin = panel.end - 1 - HORIZON - back
        for row, series_id in enumerate(panel.series.series_id):
            stop = origin - panel.first + 1
            known = {name: values[row, stop : stop + HORIZON] for name, values in panel.covariates.items()}
            query = SeriesQuery(
                series_id=series_id, history=SeriesHistory.of_panel(panel, row, 0, stop),
                item_id=panel.series.item_id[row], location=panel.series.location[row],
                static={name: values[row] for name, values in panel.series.static.items()}, future=known,
            )  # fmt: skip
            (said,) = forecaster.forecast([query], HORIZON, (0.1, 0.9))
            came_H = panel.demand_SP[row, stop : stop + HORIZON]
            error += np.abs(came_H - said.mean_H).sum()
            total += came_H.sum()
            inside += int(((came_H >= said.quantiles_QH[0]) & (came_H <= said.quantiles_QH[1])).sum())
            points += HORIZON
    assert result.metrics["wape"] == pytest.approx(error / total, rel=1e-4)
    assert result.metrics["coverage_80"] == pytest.approx(inside / points, abs=0.02)


def test_the_bundle_evaluates_as_it_was_trained(result: FitResult, tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop")
    folder = with_manifest(result, shop, ForecasterConfig.model_validate(QUICK), tmp_path / "bundle")
    found = JOB.evaluate(folder, shop)
    for name in ("wape", "mase", "smape", "coverage_80"):
        assert found["metrics"][name] == pytest.approx(result.metrics[name], rel=1e-3)
    assert found["baselines"]["median_26"]["wape"] == pytest.approx(result.baselines["median_26"]["wape"])


class Interrupted(LocalReport):
    """Stops after some of its steps are kept."""

    def __call__(self, metrics: Mapping[str, float], checkpoint: Path | None = None) -> Path | None:
        kept = super().__call__(metrics, checkpoint)
        if len(self.history) == 6:
            raise KeyboardInterrupt
        return kept


def test_interrupted_training_goes_on_from_the_members_it_had(
    result: FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.jobs.forecaster_fits.KEPT_EVERY_S", 0.0)
    config, shop = ForecasterConfig.model_validate(QUICK), write_shop(tmp_path / "shop")
    data, checkpoints = JOB.load(shop, config), tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        JOB.fit(config, data, Interrupted(checkpoints), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    again = LocalReport(checkpoints)
    resumed = JOB.fit(config, data, again, tmp_path / "bundle")
    assert next(iter(again.history))["epoch"] == 7
    assert resumed.metrics == result.metrics
    assert any("interrupted" in note for note in resumed.notes)


def test_a_column_that_came_later_changes_no_evaluation(result: FitResult, tmp_path: Path) -> None:
    columns = sales_rows()
    shop = write_shop(
        tmp_path / "shop", {**columns, "footfall": [float(row % 7) for row in range(len(columns["demand"]))]}
    )
    folder = with_manifest(result, shop, ForecasterConfig.model_validate(QUICK), tmp_path / "bundle")
    assert JOB.evaluate(folder, shop)["metrics"]["wape"] == pytest.approx(result.metrics["wape"], rel=1e-3)


def test_columns_that_are_gone_and_prices_of_nothing_stop_no_evaluation(result: FitResult, tmp_path: Path) -> None:
    columns = sales_rows()
    columns["price"][3] = 0.0
    kept = {name: values for name, values in columns.items() if name not in ("family", "weather")}
    schema = CovariateSchema(covariates={name: SCHEMA.covariates[name] for name in ("price", "promotion")})
    folder = with_manifest(result, write_shop(tmp_path / "shop"), ForecasterConfig.model_validate(QUICK), tmp_path)
    found = JOB.evaluate(folder, write_shop(tmp_path / "later", kept, schema))
    assert found["metrics"]["wape"] == pytest.approx(result.metrics["wape"], rel=0.05)


def test_a_split_of_the_shop_decides_what_its_evaluation_holds_out(result: FitResult, tmp_path: Path) -> None:
    columns = sales_rows()
    ends = columns["timestamp"][0] + timedelta(weeks=WEEKS - HORIZON)
    columns["split"] = ["test" if moment >= ends else "train" for moment in columns["timestamp"]]
    folder = with_manifest(result, write_shop(tmp_path / "shop"), ForecasterConfig.model_validate(QUICK), tmp_path)
    found = JOB.evaluate(folder, write_shop(tmp_path / "split", columns))
    assert found["metrics"]["wape"] == pytest.approx(result.metrics["wape"], rel=0.3)


def test_batch_forecasts_have_a_row_for_every_series_and_period(result: FitResult, tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop")
    folder = with_manifest(result, shop, ForecasterConfig.model_validate(QUICK), tmp_path / "bundle")
    (block,) = series_of_shop(shop)
    rows = ForecastBatch(str(folder), 0, str(shop.path))(block)
    assert rows.schema == FORECASTS
    assert rows.num_rows == ITEMS * PLACES * HORIZON
    assert all(row["q10"] <= row["q50"] <= row["q90"] for row in rows.to_pylist())
    loaded = Forecaster.load(folder)
    first = block["series_id"][0].as_py()
    (said,) = loaded.forecast([loaded.query(first)], HORIZON)
    assert rows["mean"].to_numpy()[:HORIZON] == pytest.approx(said.mean_H)


def test_levels_are_reconciled(result: FitResult) -> None:
    assert {"wape_reconciled", "wape_total_reconciled", "wape_item_reconciled"} <= set(result.metrics)
    assert result.metrics["wape_total"] < result.metrics["wape"]


def test_answers_do_not_depend_on_the_batch(forecaster: Forecaster) -> None:
    ids = list(forecaster.series)[:6]
    together = forecaster.forecast([forecaster.query(series_id) for series_id in ids], 3)
    for series_id, said in zip(ids, together, strict=True):
        (alone,) = forecaster.forecast([forecaster.query(series_id)], 3)
        assert np.allclose(alone.mean_H, said.mean_H, rtol=1e-5)
        assert np.allclose(alone.quantiles_QH, said.quantiles_QH, rtol=1e-5)
        assert said.timestamps_us_H[0] == forecaster.frequency.timestamp_us(np.array([forecaster.end]))[0]


def test_a_lower_price_that_the_caller_gives_sells_more_and_the_answer_says_who_said_so(forecaster: Forecaster) -> None:
    series_id = next(iter(forecaster.series))
    given = {"price": np.full(HORIZON, 1.5), "promotion": np.ones(HORIZON)}
    dear = {"price": np.full(HORIZON, 2.0), "promotion": np.zeros(HORIZON)}
    cheap, usual = forecaster.forecast([forecaster.query(series_id, given), forecaster.query(series_id, dear)], HORIZON)
    assert cheap.mean_H.sum() > 1.5 * usual.mean_H.sum()
    assert cheap.model in (*forecaster.members, "ensemble")
    weights = forecaster.plan.weights("level", informed=True)
    assert all(forecaster.members[name].uses for name in weights)


def test_a_horizon_beyond_the_trained_one_is_refused(forecaster: Forecaster) -> None:
    query = forecaster.query(next(iter(forecaster.series)))
    with pytest.raises(InputError, match=r"beyond the trained horizon; found 5; allowed 1 to 4"):
        forecaster.forecast([query], HORIZON + 1)


def test_quantiles_rise_and_hold_the_order_asked_for(forecaster: Forecaster) -> None:
    query = forecaster.query(next(iter(forecaster.series)))
    (said,) = forecaster.forecast([query], HORIZON, (0.9, 0.1, 0.42))
    high, low, middle = said.quantiles_QH
    assert (low <= middle).all()
    assert (middle <= high).all()


def test_an_item_that_nobody_has_sold_gets_an_answer(forecaster: Forecaster) -> None:
    """The third place sells three times as much as the first: so will a new item there."""
    small, large = (
        SeriesQuery(
            series_id=f"new@{place}", history=SeriesHistory.empty(), item_id="new", location=place,
            static={"family": "even"},
        )
        for place in ("p0", "p2")
    )  # fmt: skip
    few, many = forecaster.forecast([small, large], 2)
    assert few.model == "cold_start"
    assert np.isfinite(few.quantiles_QH).all()
    assert 2 < many.mean_H[0] / few.mean_H[0] < 4
    assert 20 < few.mean_H[0] < 120


def test_short_empty_and_returning_series_are_kept_and_told(tmp_path: Path) -> None:
    columns = sales_rows(items=2)
    rows = len(columns["demand"])
    start = columns["timestamp"][0]
    for name, demands in (("zero", [0.0] * WEEKS), ("three", [None] * (WEEKS - 3) + [1.0, 2.0, 3.0])):
        for week, demand in enumerate(demands):
            if demand is not None:
                values = {"series_id": name, "timestamp": start + timedelta(weeks=week), "demand": demand, "price": 1.0}
                for column in columns:
                    columns[column].append(values.get(column))
    columns["demand"][3] = -5.0
    assert rows < len(columns["demand"])
    result = trained(
        tmp_path, columns, members=("last_value", "median_26", "lightgbm", "theta"), covariate_control=False
    )
    said = " ".join(result.notes)
    assert "1 rows have negative demand (returns), kept as they are" in said
    assert "1 series never sold anything" in said
    assert "1 series have fewer than 4 observed periods" in said
    loaded = Forecaster.load(result.folder)
    zero, three = loaded.forecast([loaded.query("zero"), loaded.query("three")], 2)
    assert np.allclose(zero.mean_H, 0, atol=0.05)
    assert (three.mean_H > 0).all()


def test_a_split_decides_what_is_held_out_series_by_series(tmp_path: Path) -> None:
    columns = sales_rows(items=2)
    columns["split"] = ["train"] * len(columns["demand"])
    week_of: dict[str, int] = {}
    for row, series_id in enumerate(columns["series_id"]):
        week = week_of[series_id] = week_of.get(series_id, -1) + 1
        last = 100 if series_id == "i0@p0" else WEEKS
        if last - 5 <= week < last:
            columns["split"][row] = "test"
        elif week >= last:
            columns["demand"][row] = None
    config = ForecasterConfig()
    data = JOB.load(write_shop(tmp_path / "shop", columns), config)
    task = task_of(data.panel, None, 1)
    assert task.horizon == 5
    assert task.cut_S[0] - data.panel.first == 94
    assert np.isfinite(task.actual(task.cut_S)).all()
    assert np.isnan(task.visible.demand_SP[0, 95:]).all()


def test_a_history_that_is_too_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="history is too short"):
        trained(tmp_path, sales_rows(weeks=6, items=1), horizon=6)


def test_an_unknown_member_is_named() -> None:
    with pytest.raises(ValueError, match="no such way to forecast"):
        ForecasterConfig(members=("lightgmb",))
