"""The times of live events, on a shop whose clock runs behind the wall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.testclient import TestClient

from deployments.state.events import EventRow
from tests.serving_shop import Serving


def view(item_id: str, **said: Any) -> dict[str, Any]:
    return {"type": "view", "user_id": "someone", "item_id": item_id, **said}


def held(serving: Serving, item_id: str) -> EventRow:
    return next(row for rows in serving.live.store.events() for row in rows if row.item_id == item_id)


def test_a_clients_clock_is_brought_into_the_shops_time(http: TestClient, serving: Serving) -> None:
    for item_id, said in (("i01", {"timestamp": datetime.now(UTC).isoformat()}), ("i02", {})):
        http.post("/v1/events", json={"events": [view(item_id, **said)]}).raise_for_status()
    assert serving.live.store.profile("someone").item_ids == ("i01", "i02")


def test_a_repeat_of_a_moved_event_is_a_duplicate(http: TestClient, serving: Serving) -> None:
    soon = serving.gateway.clock.now() + timedelta(milliseconds=300)
    body = {"events": [view("new", event_id="e", timestamp=soon.isoformat())]}
    assert http.post("/v1/events", json=body).json()["accepted"] == 1
    while serving.gateway.clock.now() <= soon:
        assert http.post("/v1/events", json=body).json()["duplicates"] == 1
    assert http.post("/v1/events", json=body).json()["duplicates"] == 1


def test_history_keeps_its_times(http: TestClient, serving: Serving) -> None:
    past = serving.gateway.clock.now() - timedelta(days=2)
    http.post("/v1/events", json={"events": [view("late", timestamp=past.isoformat())]}).raise_for_status()
    row = held(serving, "late")
    assert row.timestamp_us is not None
    assert datetime.fromtimestamp(row.timestamp_us / 1e6, UTC) == past
