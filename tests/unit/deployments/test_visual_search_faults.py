"""Visual search that is late, dead, failing or without the bundle is a 503 in time; everything else goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from deployments.messages import Missing
from tests.serving_shop import Home, Serving, client_of, serve_in_process, wait_until
from tests.unit.deployments.test_api_input import problem
from tests.unit.deployments.test_serving_stages import Faulty, dies, errs, hangs
from tests.vision_bundle import item_picture, publish_vision


@pytest.fixture
def seeing(home: Home) -> Iterator[Serving]:
    publish_vision(home)
    serving = serve_in_process(home.config(watch_period_s=0.02))
    serving.load_champion()
    yield serving
    serving.live.close()


@pytest.fixture
def http(seeing: Serving) -> Iterator[TestClient]:
    with client_of(seeing) as client:
        wait_until(lambda: "vision" not in client.get("/readyz").json()["missing"])
        yield client


@pytest.fixture
def faulty(seeing: Serving) -> Faulty:
    stage = seeing.gateway.stages["visual_search"]
    stage.port = faulty = Faulty(stage.port)  # type: ignore[assignment]
    return faulty


def look(http: TestClient, **headers: str) -> Any:
    files = {"image": ("photo.png", item_picture(1))}
    return http.post("/v1/visual-search", files=files, headers={"X-Timeout-Ms": "30000", **headers})


async def lacks() -> Missing:
    return Missing("?")


@pytest.mark.parametrize("fault", [dies, errs, lacks])
def test_stage_that_fails_is_a_503(http: TestClient, faulty: Faulty, fault: Callable[[], Any]) -> None:
    faulty.fault = fault
    answer = look(http)
    assert "visual search" in problem(answer, 503)["detail"]
    assert int(answer.headers["retry-after"]) > 0
    faulty.fault = None
    wait_until(lambda: look(http).status_code == 200)


def test_late_stage_keeps_the_deadline_and_is_not_given_up(http: TestClient, seeing: Serving, faulty: Faulty) -> None:
    faulty.fault = hangs
    for _ in range(4):
        begun_s = time.monotonic()
        problem(look(http, **{"X-Timeout-Ms": "200"}), 503)
        assert time.monotonic() - begun_s < 5
    assert not seeing.gateway.stages["visual_search"].breaker.is_open
    faulty.fault = None
    assert look(http).status_code == 200


def test_dead_stage_costs_recommendations_nothing(http: TestClient, faulty: Faulty) -> None:
    faulty.fault = dies
    problem(look(http), 503)
    answer = http.post("/v1/recommendations", json={"user_id": "u001"}, headers={"X-Timeout-Ms": "30000"})
    assert (answer.status_code, answer.json()["degraded"]) == (200, [])
