"""A store that is away costs what needs it, and no more."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from starlette.testclient import TestClient

from deployments.live import MAX_LAG_S
from deployments.state.store import StoreUnavailable
from tests.serving_shop import Serving, wait_until

BODY = {"user_id": "u001", "limit": 5}


def unavailable(*_: Any, **__: Any) -> Any:
    raise StoreUnavailable("gone")


def test_recommendations_go_on_without_profiles(
    http: TestClient, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("profile", "append_events", "upsert_items", "catalogue_seq"):
        monkeypatch.setattr(serving.live.store, name, unavailable)
    for _ in range(5):
        document = http.post("/v1/recommendations", json=BODY).json()
        assert (document["degraded"], len(document["items"])) == (["profile"], 5)
    assert http.post("/v1/events", json={"events": [{"type": "view", "user_id": "u"}]}).status_code == 503
    assert http.put("/v1/items", json={"items": [{"item_id": "new"}]}).status_code == 503
    monkeypatch.undo()
    wait_until(lambda: http.post("/v1/recommendations", json=BODY).json()["degraded"] == [])


def test_a_store_that_hangs_is_given_up(http: TestClient, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    released, asked = threading.Event(), list[str]()

    def hang(user_id: str) -> Any:
        asked.append(user_id)
        released.wait(20)

    monkeypatch.setattr(serving.live.store, "profile", hang)
    requests = 10
    for _ in range(requests):
        answer = http.post("/v1/recommendations", json=BODY, headers={"X-Timeout-Ms": "1000"})
        assert answer.json()["degraded"][:1] == ["profile"]
    # On a slow machine the breaker may have let a probe through meanwhile.
    assert serving.gateway.config.request.breaker.failures_to_open <= len(asked) < requests
    released.set()


def test_the_catalogue_is_followed_whatever_happens(
    http: TestClient, serving: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    since, tail = serving.live.store.catalogue_since, serving.live.tail

    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr(serving.live.store, "catalogue_since", broken)
    wait_until(lambda: "cannot be followed" in caplog.text)
    tail.synced_at -= 2 * MAX_LAG_S
    document = http.get("/readyz").json()
    assert "behind the store" in document["deployments"][0]["problem"]
    monkeypatch.setattr(serving.live.store, "catalogue_since", since)
    wait_until(lambda: http.get("/readyz").json()["deployments"][0]["problem"] is None)
