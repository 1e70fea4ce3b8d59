"""POST /v1/forecasts, POST /v1/replenishments and GET /v1/assortments through the HTTP application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from deployments.middleware.auth import parse_keys
from tests.forecast_bundle import FIRST, HORIZON, WEEKS, publish_forecaster, sales_rows
from tests.serving_shop import Home, Serving, client_of, serve_in_process, wait_until
from tests.unit.deployments.test_api_input import problem

FORECASTS, ORDERS, ASSORTMENTS = "/v1/forecasts", "/v1/replenishments", "/v1/assortments"
FIRST_AHEAD = FIRST + timedelta(weeks=WEEKS)


def serving_of(home: Home) -> Serving:
    serving = serve_in_process(home.config(watch_period_s=0.02))
    serving.load_champion()
    return serving


@contextmanager
def forecasting(home: Home) -> Iterator[TestClient]:
    publish_forecaster(home)
    serving = serving_of(home)
    with client_of(serving) as client:
        client.headers["X-Timeout-Ms"] = "30000"
        wait_until(lambda: "forecaster" not in client.get("/readyz").json()["missing"])
        yield client
    serving.live.close()


@pytest.fixture
def http(home: Home) -> Iterator[TestClient]:
    with forecasting(home) as client:
        yield client


@pytest.fixture(scope="module")
def refusing(trained_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One for all questions that change nothing, for they are refused."""
    with forecasting(trained_home.copied(tmp_path_factory.mktemp("refusing") / "home")) as client:
        yield client


def forecast(http: TestClient, *series: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    answer = http.post(FORECASTS, json={"series": list(series), **fields})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["forecasts"]
    return found


def means(http: TestClient, **fields: Any) -> np.ndarray:
    (found,) = forecast(http, {"series_id": "i07@vienna"}, **fields)
    return np.array([step["mean"] for step in found["steps"]])


def test_series_are_forecast_by_id_and_by_item(http: TestClient) -> None:
    by_id, by_item, at_place = forecast(
        http, {"series_id": "i07@vienna"}, {"item_id": "i07"}, {"item_id": "i07", "location": "vienna"}
    )
    assert by_id == by_item == at_place
    http.post("/v1/sales", json={"sales": [{"series_id": "i07@vienna", "timestamp": "2126-01-31", "demand": 9}]})
    assert forecast(http, {"series_id": "i07@vienna"}) == [by_id]
    assert by_id["series_id"] == "i07@vienna"
    assert len(by_id["steps"]) == HORIZON
    assert by_id["steps"][0]["timestamp"] == FIRST_AHEAD.isoformat().replace("+00:00", "Z")
    for step in by_id["steps"]:
        quantiles = [step["quantiles"][name] for name in ("0.1", "0.25", "0.5", "0.75", "0.9")]
        assert quantiles == sorted(quantiles)
        assert quantiles[0] < step["mean"] < quantiles[-1]
    model = http.post(FORECASTS, json={"series": [{"item_id": "i07"}]}).json()["model"]
    assert model["version"]
    assert model["backtest"]["wape"] < model["backtest"]["naive_wape"]


def test_horizon_and_quantiles_are_as_asked(http: TestClient) -> None:
    (found,) = forecast(http, {"item_id": "i03"}, horizon=2, quantiles=[0.9, 0.05])
    assert [list(step["quantiles"]) for step in found["steps"]] == [["0.9", "0.05"]] * 2
    assert all(step["quantiles"]["0.05"] < step["quantiles"]["0.9"] for step in found["steps"])


def test_a_forecast_does_not_depend_on_who_else_is_asked_about(http: TestClient) -> None:
    (alone,) = forecast(http, {"item_id": "i09"})
    among = forecast(http, *({"item_id": f"i{n:02d}"} for n in range(30)))
    for one, other in zip(alone["steps"], among[9]["steps"], strict=True):
        assert one["mean"] == pytest.approx(other["mean"], rel=1e-9)


def priced(price: float) -> list[dict[str, Any]]:
    return [
        {"series_id": "i07@vienna", "timestamp": (FIRST_AHEAD + timedelta(weeks=week)).isoformat(), "price": price}
        for week in range(HORIZON)
    ]


def test_what_if_it_were_cheaper(http: TestClient) -> None:
    usual, cheap = means(http, covariates=priced(10.0)), means(http, covariates=priced(7.0))
    assert cheap.mean() / usual.mean() == pytest.approx(0.7**-2, rel=0.25)
    (found,) = forecast(http, {"series_id": "i07@vienna"}, covariates=priced(7.0))
    assert found["model"] == "price_regression"


def test_sales_since_the_training_count_at_once(http: TestClient) -> None:
    before = means(http, covariates=priced(10.0), horizon=1)
    sold = [
        {
            "series_id": "i07@vienna", "timestamp": (FIRST_AHEAD + timedelta(weeks=week)).isoformat(), "demand": 300.0,
            "price": 10.0,
        }
        for week in range(2)
    ]  # fmt: skip
    http.post("/v1/sales", json={"sales": sold}).raise_for_status()
    (found,) = forecast(http, {"series_id": "i07@vienna"}, horizon=1)
    assert found["steps"][0]["timestamp"] == (FIRST_AHEAD + timedelta(weeks=2)).isoformat().replace("+00:00", "Z")
    assert found["steps"][0]["mean"] > 1.2 * before[0]


def test_a_series_that_training_never_saw_is_forecast_from_its_sales(http: TestClient) -> None:
    new = {"series_id": "new@graz", "item_id": "new", "location": "graz", "price": 10.0}
    weeks = [FIRST_AHEAD - timedelta(weeks=back) for back in (3, 2, 1)]
    http.post("/v1/sales", json={"sales": [{**new, "timestamp": week.isoformat(), "demand": 40.0} for week in weeks]})
    later = [{**new, "timestamp": (FIRST_AHEAD + timedelta(weeks=n)).isoformat(), "demand": 40.0} for n in range(3)]
    http.post("/v1/sales", json={"sales": later})
    (found,) = forecast(http, {"series_id": "new@graz"}, horizon=1)
    assert found["steps"][0]["mean"] == pytest.approx(40, rel=0.5)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"series": []}, "series"), ({"series": [{}]}, "series.0"), ({"series": [{"series_id": "nobody"}]}, "series.0"),
        ({"series": [{"series_id": "i01@vienna", "item_id": "i01"}]}, "series.0"),
        ({"series": [{"item_id": "i01"}], "horizon": HORIZON + 1}, "horizon"),
        ({"series": [{"item_id": "i01"}], "horizon": 0}, "horizon"),
        ({"series": [{"item_id": "i01"}], "quantiles": [1.0]}, "quantiles.0"),
        ({"series": [{"item_id": "i01"}], "horizonn": 3}, "horizonn"),
        ({"series": [{"item_id": "i01"}], "covariates": [{"series_id": "i01@vienna", "timestamp": "2026-02-01"}]},
         "covariates.0"),
        ({"series": [{"item_id": "i01"}],
          "covariates": [{"series_id": "i01@vienna", "timestamp": "2026-02-01", "weather": 3}]},
         "covariates.0.weather"),
        ({"series": [{"item_id": "i01"}],
          "covariates": [{"series_id": "i02@vienna", "timestamp": "2026-02-01", "price": 3}]},
         "covariates.0.series_id"),
        ({"series": [{"item_id": "i01"}],
          "covariates": [{"series_id": "i01@vienna", "timestamp": "2026-02-01", "price": "cheap"}]}, "covariates.0"),
    ],
)  # fmt: skip
def test_wrong_questions_name_the_field(refusing: TestClient, body: dict[str, Any], field: str) -> None:
    found = problem(refusing.post(FORECASTS, json=body), 422)
    assert field in [error["field"] for error in found["errors"]]


def test_a_required_covariate_that_is_missing_is_named(home: Home) -> None:
    """Series, column and week."""
    week = FIRST_AHEAD + timedelta(weeks=2)
    rows = sales_rows()
    for row in rows:
        if (row["series_id"], row["timestamp"]) == ("i07@vienna", week):
            row["price"] = None
    publish_forecaster(home, missing="required", rows=rows)
    serving = serving_of(home)
    with client_of(serving) as http:
        wait_until(lambda: "forecaster" not in http.get("/readyz").json()["missing"])
        http.headers["X-Timeout-Ms"] = "30000"
        found = problem(http.post(FORECASTS, json={"series": [{"series_id": "i07@vienna"}]}), 422)
        (error,) = found["errors"]
        assert (error["series_id"], error["column"]) == ("i07@vienna", "price")
        assert error["timestamp"].startswith(week.date().isoformat())
        given = {"series_id": "i07@vienna", "timestamp": week.isoformat(), "price": 9.0}
        assert len(forecast(http, {"series_id": "i07@vienna"}, covariates=[given])) == 1
        assert len(forecast(http, {"series_id": "i07@vienna"}, horizon=2)) == 1
    serving.live.close()


def order(http: TestClient, **position: Any) -> dict[str, Any]:
    item = {"item_id": "i07", "on_hand": 10, "lead_time_days": 7, "review_period_days": 7, "service_level": 0.95}
    answer = http.post(ORDERS, json={"items": [{**item, **position}]})
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["items"]
    return dict(found)


def test_orders_follow_the_forecast(http: TestClient) -> None:
    found = order(http)
    expected = means(http)[:2].sum()
    assert (found["item_id"], found["series_id"], found["policy"]) == ("i07", "i07@vienna", "base_stock")
    assert expected < found["order_up_to"] < 2 * expected
    assert found["order_quantity"] == pytest.approx(found["order_up_to"] - 10)
    assert order(http, on_order=20)["order_quantity"] == pytest.approx(found["order_quantity"] - 20)
    assert order(http, service_level=0.99)["order_quantity"] > found["order_quantity"]
    costs = {"service_level": None, "holding_cost": 0.01, "stockout_cost": 5, "order_cost": 40}
    assert order(http, **costs)["policy"] == "s_S"
    assert order(http, lead_time_days=0)["policy"] == "newsvendor"


@pytest.mark.parametrize(
    ("position", "field"),
    [
        ({"service_level": None}, "items.0"), ({"service_level": 1.0}, "items.0.service_level"),
        ({"lead_time_days": -1}, "items.0.lead_time_days"), ({"item_id": "nothing"}, "series.0"),
        ({"lead_time_days": 0, "review_period_days": 0}, "items.0"), ({"order_cost": 5}, "items.0"),
    ],
)  # fmt: skip
def test_wrong_positions_name_the_field(refusing: TestClient, position: dict[str, Any], field: str) -> None:
    item = {"item_id": "i07", "on_hand": 10, "lead_time_days": 7, "review_period_days": 7, "service_level": 0.95}
    found = problem(refusing.post(ORDERS, json={"items": [{**item, **position}]}), 422)
    assert field in [error["field"] for error in found["errors"]]


def test_the_selection_list_is_of_the_category_and_says_why(http: TestClient) -> None:
    document = http.get(ASSORTMENTS, params={"category": "c1", "limit": 5}).json()
    assert document["periods"] == HORIZON
    assert len(document["items"]) == 5
    for item in document["items"]:
        assert int(item["item_id"][1:]) % 4 == 1
        assert item["decision"] in ("list", "keep", "phase_out")
        assert item["expected_units"]["low"] < item["expected_units"]["mean"] < item["expected_units"]["high"]
        assert item["expected_margin"] is None
        assert item["reasons"][0]["code"] == f"stage_{item['stage']}"
    priced_items = [{"item_id": "i01", "cost": 0.5}, {"item_id": "i05", "cost": 99.0}]
    http.put("/v1/items", json={"items": priced_items}).raise_for_status()
    by_id = {item["item_id"]: item for item in http.get(ASSORTMENTS, params={"category": "c1"}).json()["items"]}
    assert by_id["i01"]["expected_margin"]["mean"] == pytest.approx(1.5 * by_id["i01"]["expected_units"]["mean"])
    assert by_id["i05"]["decision"] == "phase_out"
    assert http.get(ASSORTMENTS, params={"category": "it's none"}).json()["items"] == []
    problem(http.get(ASSORTMENTS, params={"limit": 0}), 422)


def test_before_there_is_a_forecaster(home: Home) -> None:
    home.publish()
    serving = serving_of(home)
    with client_of(serving) as http:
        for answer in (http.post(FORECASTS, json={"series": [{"item_id": "i01"}]}), http.get(ASSORTMENTS)):
            assert "shopkeeper train forecaster" in problem(answer, 503)["detail"]
    serving.live.close()


def test_planning_is_for_servers(home: Home) -> None:
    serving = serving_of(home)
    keys = parse_keys("app:public:0123456789abcdef")
    from deployments.api.application import create_api

    with TestClient(create_api(serving.gateway, keys=keys)) as http:
        answer = http.get(ASSORTMENTS, headers={"Authorization": "Bearer 0123456789abcdef"})
        problem(answer, 403)
    serving.live.close()
