"""Serving on Ray: real processes, real HTTP, replicas that die and releases that change under load."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.config import DeploymentConfig, DeploymentsConfig
from deployments.state.open import open_store
from tests.forecast_bundle import HORIZON, publish_forecaster
from tests.parity import assert_served_as_trained
from tests.serving_on_ray import replicas, serve_on_ray
from tests.serving_shop import Home, make_shop, train, wait_until
from training.features.ranking import RankingState, RequestFacts

pytestmark = pytest.mark.ray
CLIENTS = 4


class Load:
    """Clients that go on asking until the block ends; `answers` holds what came back, in order of arrival."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[tuple[int, dict[str, Any], float]] = []
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)

    def __enter__(self) -> Load:
        self._clients = [self._pool.submit(self._ask, number) for number in range(CLIENTS)]
        wait_until(lambda: len(self.answers) > 4 * CLIENTS, timeout_s=60)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()

    def _ask(self, number: int) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as http:
            while not self._stop.is_set():
                begun_s = time.monotonic()
                answer = http.post("/v1/recommendations", json={"user_id": f"u{number:03d}"})
                self.answers.append((answer.status_code, answer.json(), time.monotonic() - begun_s))

    def until_degraded(self, *stages: str) -> None:
        """Wait until an answer is degraded by just these stages; none: until answers are whole again."""
        seen = len(self.answers)
        wait_until(
            lambda: any(document.get("degraded") == list(stages) for _, document, _ in self.answers[seen:]),
            timeout_s=60,
        )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("serving")
    shop = make_shop(root / "shop")
    home = Home(root, shop, train(shop, root))
    home.import_shop()
    return home


@pytest.fixture(scope="module")
def url(home: Home, own_ray: None) -> Iterator[str]:
    """The application on a Ray of its own; it has no bundle yet."""
    two = DeploymentsConfig(retrieval=DeploymentConfig(num_cpus=0.2, min_replicas=2, max_replicas=2))
    with serve_on_ray(home, two) as url:
        yield url


@pytest.fixture(scope="module")
def served(home: Home, url: str) -> str:
    """With a champion."""
    answer = httpx.post(f"{url}/v1/recommendations", json={"user_id": "u001"}, timeout=30)
    assert answer.status_code == 503
    assert "shopkeeper train recommender" in answer.json()["detail"]
    home.publish()
    wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200, timeout_s=60)
    return url


def test_proxy_says_one_request_id_and_problem_json(served: str) -> None:
    answer = httpx.get(f"{served}/readyz", headers={"X-Request-ID": "mine"})
    assert answer.headers.get_list("x-request-id") == ["mine"]
    answer = httpx.get(f"{served}/nothing", headers={"X-Request-ID": "not well formed"})
    assert answer.headers.get_list("x-request-id") != ["not well formed"]
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_next_answer_reflects_the_event(served: str) -> None:
    with httpx.Client(base_url=served, timeout=30) as http:
        for _ in range(5):
            answer = http.post("/v1/recommendations", json={"user_id": "reader", "limit": 3}).json()
            assert answer["degraded"] == []
            item_id = answer["items"][0]["item_id"]
            event = {"type": "purchase", "user_id": "reader", "item_id": item_id}
            assert http.post("/v1/events", json={"events": [event]}).json()["accepted"] == 1
            after = http.post("/v1/recommendations", json={"user_id": "reader", "limit": 200}).json()
            assert item_id not in [item["item_id"] for item in after["items"]]


def test_new_item_is_found_within_a_second_on_every_replica(served: str) -> None:
    """Whichever replica of retrieval answers; and an item that is sold out or deleted leaves at once."""
    with httpx.Client(base_url=served, timeout=30) as http, ThreadPoolExecutor(CLIENTS) as clients:
        last_miss_s = [_last_miss_s(http, clients, f"fresh{number}") for number in range(3)]
        assert sorted(last_miss_s)[1] < 1.0
        for item_id, gone in (("fresh0", {"stock": 0}), ("fresh1", None)):
            if gone is None:
                assert http.delete(f"/v1/items/{item_id}").status_code == 204
            else:
                http.put("/v1/items", json={"items": [{"item_id": item_id, **gone}]})
            assert {tuple(found) for found in clients.map(lambda _: _found(http, item_id), range(20))} == {()}  # noqa: B023


def _last_miss_s(http: httpx.Client, clients: ThreadPoolExecutor, item_id: str) -> float:
    """How long after PUT some answer still lacked the item; asked by several clients for some seconds."""
    new = {"item_id": item_id, "title": "Thing", "brand": item_id, "category": ["all", "c1"], "stock": 1}
    assert http.put("/v1/items", json={"items": [new]}).status_code == 200
    put_s = time.monotonic()

    def ask(_: int) -> list[tuple[float, bool]]:
        answers = []
        while (asked_s := time.monotonic() - put_s) < 2.0:
            answers.append((asked_s, _found(http, item_id) == [item_id]))
        return answers

    answers = [answer for found in clients.map(ask, range(CLIENTS)) for answer in found]
    assert len(answers) > 10 * CLIENTS
    return max((asked_s for asked_s, found in answers if not found), default=0.0)


def _found(http: httpx.Client, item_id: str) -> list[str]:
    body = {"user_id": "u001", "filter": f"brand = '{item_id}'"}
    answer = http.post("/v1/recommendations", json=body).json()
    assert answer["degraded"] == []
    return [item["item_id"] for item in answer["items"]]


def test_releases_swap_under_load_and_never_mix(home: Home, served: str) -> None:
    with Load(served) as load:
        second = home.publish()
        wait_until(lambda: any(_versions(said) == {second.version} for _, said, _ in load.answers), timeout_s=60)
        back = home.registry.rollback("recommender").release
        wait_until(lambda: any(said["release"] == back for _, said, _ in load.answers), timeout_s=60)
        (first,) = _versions(load.answers[0][1])
        ranker = home.publish_ranker(first)
        wait_until(lambda: _versions(load.answers[-1][1]) == {first, ranker.version}, timeout_s=60)
    assert {status for status, _, _ in load.answers} == {200}
    by_release: dict[str, set[frozenset[str]]] = {}
    for _, document, _ in load.answers:
        by_release.setdefault(document["release"], set()).add(_versions(document))
    assert len(by_release) == 4
    assert all(len(versions) == 1 for versions in by_release.values())
    assert sum(document["degraded"] == [] for _, document, _ in load.answers) >= 0.99 * len(load.answers)


@pytest.mark.parametrize("stage", ["ranking", "retrieval"])
def test_killed_stage_is_said_and_nobody_sees_an_error(served: str, stage: str) -> None:
    with Load(served) as load:
        for process in replicas(stage):
            process.kill()
        load.until_degraded(stage)
        load.until_degraded()
    assert {status for status, _, _ in load.answers} == {200}
    assert all(document["items"] for _, document, _ in load.answers)
    late = [document for _, document, _ in load.answers if set(document["degraded"]) - {stage}]
    assert len(late) <= 0.01 * len(load.answers)  # a machine that a new replica loads up may keep another stage waiting


def test_features_are_equal_to_the_bit(home: Home, served: str, tmp_path: Path) -> None:
    asked = {}
    with httpx.Client(base_url=served, timeout=30) as http:
        for number in range(20):
            user = f"u{number:03d}"
            event = {"type": "view", "user_id": user, "item_id": f"i{number:02d}", "dwell_s": number / 3}
            http.post("/v1/events", json={"events": [event]})
            body = {"user_id": user, "exploration": 0.3, "scenario": "cart", "context": {"device": "tablet"}}
            answer = http.post("/v1/recommendations", json=body).json()
            assert answer["degraded"] == []
            asked[answer["recommendation_id"]] = RequestFacts("cart", "tablet")
    store = open_store(home.config().state, home.config().shop_id)
    wait_until(lambda: all(store.recommendation(name) is not None for name in asked))
    champion = home.registry.get("champion")
    assert champion is not None
    folder = home.bundles.fetch(home.registry.shop_id, "ranker", champion.jobs["ranker"])
    assert_served_as_trained(store, tmp_path / "export", RankingState.load(folder / "ranking_state.json"), asked)
    store.close()


def test_forecasts_come_from_their_replica_and_come_back_after_its_death(home: Home, served: str) -> None:
    publish_forecaster(home)
    ask = {"series": [{"item_id": "i20"}, {"item_id": "i05"}], "horizon": HORIZON}
    with httpx.Client(base_url=served, timeout=30) as http:
        wait_until(lambda: http.post("/v1/forecasts", json=ask).status_code == 200, timeout_s=60)
        said = http.post("/v1/forecasts", json=ask).json()
        expected = [sum(step["mean"] for step in one["steps"]) for one in said["forecasts"]]
        assert expected[0] > expected[1] > 10 * HORIZON
        for process in replicas("forecasting"):
            process.kill()
        statuses = [http.post("/v1/forecasts", json=ask).status_code]
        wait_until(
            lambda: statuses.append(http.post("/v1/forecasts", json=ask).status_code) or statuses[-1] == 200,
            timeout_s=60,
        )
        assert {*statuses} <= {200, 503}
        assert http.post("/v1/forecasts", json=ask).json()["forecasts"] == said["forecasts"]


def test_metrics_are_prometheus_text(served: str) -> None:
    answer = httpx.get(f"{served}/metrics", timeout=30)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'shopkeeper_requests_total{route="/v1/recommendations",status="200"}' in answer.text
    assert "shopkeeper_degraded_total" in answer.text


def _versions(document: dict[str, Any]) -> frozenset[str]:
    return frozenset(model["version"] for model in document["models"])
