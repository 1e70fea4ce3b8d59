"""The ranker of a release ranks where it was trained on the release's recommender; else the recommender's own."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.serving_shop import Home, Serving, client_of, serve_in_process, wait_until

BODY = {"user_id": "u001", "limit": 5}


def rankers(http: TestClient) -> dict[str, str]:
    """Version by role of what made an answer, which must be whole."""
    document = http.post("/v1/recommendations", json=BODY).json()
    assert document["degraded"] == []
    return {model["role"]: model["version"] for model in document["models"]}


def ranking_status(http: TestClient) -> dict[str, Any]:
    (status,) = [found for found in http.get("/readyz").json()["deployments"] if found["name"] == "ranking"]
    return dict(status)


@pytest.fixture
def recommender(home: Home) -> str:
    champion = home.registry.get("champion")
    assert champion is not None
    return champion.jobs["recommender"]


def take_up(serving: Serving, http: TestClient, **versions: str) -> None:
    serving.load_champion()
    wait_until(lambda: rankers(http) == versions)


def test_missing_names_the_ranker_until_there_is_one(home: Home, serving: Serving, recommender: str) -> None:
    with client_of(serving) as http:
        assert http.get("/readyz").json()["missing"] == ["ranker", "vision", "forecaster"]
        assert rankers(http) == {"retriever": recommender, "ranker": recommender}
        ranker = home.publish_ranker(recommender)
        take_up(serving, http, retriever=recommender, ranker=ranker.version)
        assert http.get("/readyz").json()["missing"] == ["vision", "forecaster"]
        wait_until(lambda: ranking_status(http)["version"] == ranker.version)
        models = http.get("/v1/models").json()["models"]
        assert [(model["role"], model["version"]) for model in models] == [
            ("retriever", recommender), ("ranker", ranker.version),
        ]  # fmt: skip
        assert models[1]["metrics"] == {"auc": 0.5}


def test_a_trained_ranker_says_its_probabilities_beside_what_orders(
    home: Home, serving: Serving, recommender: str
) -> None:
    with client_of(serving) as http:
        assert {str(item["probabilities"]) for item in http.post("/v1/recommendations", json=BODY).json()["items"]} == {
            "{}"
        }
        ranker = home.publish_ranker(recommender, weights=(-1.0,))
        take_up(serving, http, retriever=recommender, ranker=ranker.version)
        items = http.post("/v1/recommendations", json=BODY).json()["items"]
        assert all(item["probabilities"].keys() == {"click"} for item in items)
        assert all(0 < item["probabilities"]["click"] < 1 for item in items)
        assert [item["probabilities"]["click"] for item in items] == pytest.approx(
            [1 - item["score"] for item in items], abs=1e-9
        )


def test_promotion_and_rollback_of_the_ranker_drop_no_answer(home: Home, serving: Serving, recommender: str) -> None:
    with client_of(serving) as http:
        first, second = home.publish_ranker(recommender), home.publish_ranker(recommender, first_weight=-1.0)
        take_up(serving, http, retriever=recommender, ranker=second.version)
        turned = [item["item_id"] for item in http.post("/v1/recommendations", json=BODY).json()["items"]]
        home.registry.rollback("ranker")
        take_up(serving, http, retriever=recommender, ranker=first.version)
        assert turned != [item["item_id"] for item in http.post("/v1/recommendations", json=BODY).json()["items"]]


def test_a_ranker_of_another_recommender_is_not_used_and_said(home: Home, serving: Serving, recommender: str) -> None:
    with client_of(serving) as http:
        ranker = home.publish_ranker(recommender)
        take_up(serving, http, retriever=recommender, ranker=ranker.version)
        newer = home.publish().version
        take_up(serving, http, retriever=newer, ranker=newer)
        problem = ranking_status(http)["problem"]
        assert f"{ranker.version} was trained on recommender {recommender}, {newer} is served" in problem
        assert "shopkeeper train ranker" in problem
        assert http.get("/v1/models").json()["models"][1]["name"] == "logistic_regression"
        home.registry.rollback("recommender")
        take_up(serving, http, retriever=recommender, ranker=ranker.version)
        assert ranking_status(http)["problem"] is None


def test_a_corrupt_ranker_leaves_the_former_serving(home: Home, serving: Serving, recommender: str) -> None:
    with client_of(serving) as http:
        former = home.publish_ranker(recommender)
        take_up(serving, http, retriever=recommender, ranker=former.version)
        release = http.get("/readyz").json()["release"]
        home.publish_ranker(recommender, damaged="ranker.json")
        serving.load_champion()
        wait_until(lambda: serving.gateway.watcher.problem is not None)
        assert rankers(http) == {"retriever": recommender, "ranker": former.version}
        document = http.get("/readyz").json()
        assert document["release"] == release
        assert "ranker.json" in document["deployments"][0]["problem"]


def test_a_ranker_of_other_features_leaves_the_former_serving(home: Home, serving: Serving, recommender: str) -> None:
    with client_of(serving) as http:
        former = home.publish_ranker(recommender)
        take_up(serving, http, retriever=recommender, ranker=former.version)
        home.publish_ranker(recommender, feature_names=("horoscope",))
        serving.load_champion()
        wait_until(lambda: "horoscope" in (ranking_status(http)["problem"] or ""))
        assert rankers(http) == {"retriever": recommender, "ranker": former.version}


def test_without_a_former_a_corrupt_ranker_leaves_the_recommenders_own(home: Home, recommender: str) -> None:
    home.publish_ranker(recommender, damaged="ranking_state.json")
    serving = serve_in_process(home.config(watch_period_s=0.02))
    serving.load_champion()
    with client_of(serving) as http:
        assert rankers(http) == {"retriever": recommender, "ranker": recommender}
        assert "ranking_state.json" in ranking_status(http)["problem"]
    serving.live.close()


def test_a_replica_without_the_ranker_answers_from_the_release_before(
    home: Home, serving: Serving, recommender: str
) -> None:
    with client_of(serving) as http:
        former = home.publish_ranker(recommender)
        take_up(serving, http, retriever=recommender, ranker=former.version)
        home.publish_ranker(recommender)
        serving.gateway.watcher.poll()
        assert rankers(http) == {"retriever": recommender, "ranker": former.version}


def test_a_replica_without_any_ranker_answers_with_the_recommenders_own(
    home: Home, serving: Serving, recommender: str
) -> None:
    with client_of(serving) as http:
        home.publish_ranker(recommender)
        serving.gateway.watcher.poll()
        assert rankers(http) == {"retriever": recommender, "ranker": recommender}


def test_a_champion_of_other_items_is_refused_with_the_difference(home: Home, serving: Serving) -> None:
    with client_of(serving) as http:
        before = rankers(http)
        serving.live.store.upsert_items([{"item_id": f"x{n}"} for n in range(60)])
        for item_id in list(serving.live.view.row_of):
            serving.live.store.delete_item(item_id)
        serving.live.tail.catch_up()
        home.publish()
        serving.load_champion()
        wait_until(lambda: serving.gateway.watcher.problem is not None)
        status = http.get("/readyz").json()
        assert "0 items in common; 48 only in the bundle" in status["deployments"][0]["problem"]
        assert serving.gateway.serving().version == before["retriever"]
