"""The main job, as its users do it: a shop goes up, answers, survives a kill, refuses a second, goes down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.serving_shop import wait_until
from tests.whole_system import (
    LENGTH,
    USERS,
    answer,
    free_port,
    kill_system,
    make_tiny_shop,
    recommend,
    shopkeeper,
    system_tree,
)

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_shop(tmp_path_factory.mktemp("sequences"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def up(shop: Path, home: Path) -> Iterator[dict[str, Any]]:
    port = free_port()
    yield answer(shopkeeper(home, "up", "--data", str(shop), "--port", str(port), "--detach", "--wait-all", "--json"))
    shopkeeper(home, "down")


def test_up_answers_with_the_shops_own_champion(up: dict[str, Any]) -> None:
    assert up["missing"] == [*up["unfit"]] == ["forecaster", "vision"]
    assert "POST /v1/recommendations" in up["routes"]
    document = recommend(up, "u0", limit=5)
    assert document["release"] == up["release"]
    assert document["degraded"] == []
    assert len(document["items"]) == 5


def test_the_next_answer_reflects_an_acknowledged_event(up: dict[str, Any]) -> None:
    for user, cluster in (("reader", "3"), ("writer", "5")):
        events = [{"type": "rating", "user_id": user, "item_id": f"{cluster}{item:02d}"} for item in range(4)]
        response = httpx.post(f"{up['url']}/v1/events", json={"events": events}, timeout=10)
        assert response.status_code == 202, response.text
        found = [item["item_id"] for item in recommend(up, user, limit=5)["items"]]
        assert sum(item_id.startswith(cluster) for item_id in found) >= 4
        assert not {event["item_id"] for event in events} & set(found)


def test_a_second_up_on_this_home_says_so_and_stops(up: dict[str, Any], home: Path, shop: Path) -> None:
    done = shopkeeper(home, "up", "--data", str(shop), "--port", str(free_port()), "--json")
    assert "already runs" in answer(done, 1)["error"]


def test_a_second_up_on_this_port_says_so_and_stops(up: dict[str, Any], tmp_path: Path, shop: Path) -> None:
    port = up["url"].rsplit(":", 1)[1]
    done = shopkeeper(tmp_path, "up", "--data", str(shop), "--port", port, "--json")
    assert f"port {port} is taken" in answer(done, 2)["problems"][0]["problem"]


def test_status_tells_deployments_and_what_they_take(up: dict[str, Any], home: Path) -> None:
    def status() -> Any:
        return answer(shopkeeper(home, "status", "--json"))

    wait_until(lambda: bool(status()["deployments"]), timeout_s=60)
    document = status()
    assert document["ready"]
    assert {"gateway", "retrieval", "ranking"} <= {deployment["name"].lower() for deployment in document["deployments"]}
    assert 0 < document["usage"]["memory_bytes"] < document["budget"]["memory_bytes"]


def test_an_acknowledged_event_survives_the_death_of_the_whole_system(
    up: dict[str, Any], home: Path, shop: Path
) -> None:
    event = {"event_id": "last-word", "type": "rating", "user_id": "survivor", "item_id": "207"}
    assert httpx.post(f"{up['url']}/v1/events", json={"events": [event]}, timeout=10).status_code == 202
    kill_system(home)
    assert not answer(shopkeeper(home, "status", "--json"))["ready"]

    port = up["url"].rsplit(":", 1)[1]
    again = answer(shopkeeper(home, "up", "--data", str(shop), "--port", port, "--detach", "--json"))
    assert again["release"] == up["release"]
    response = httpx.post(f"{again['url']}/v1/events", json={"events": [event]}, timeout=10)
    assert response.json()["duplicates"] == 1
    assert "207" not in [item["item_id"] for item in recommend(up, "survivor")["items"]]


def test_the_live_state_exports_as_a_shop_that_trains_again(up: dict[str, Any], home: Path, tmp_path: Path) -> None:
    out = tmp_path / "exported"
    counts = answer(shopkeeper(home, "data", "export", "--out", str(out), "--json"))["tables"]
    assert counts["events"] == USERS * LENGTH + 9
    assert counts["recommendations"] >= 1
    checked = shopkeeper(home, "data", "check", str(out), "--json")
    assert answer(checked)["ok"], checked.stdout


def test_down_leaves_nothing_running(up: dict[str, Any], home: Path) -> None:
    tree = system_tree(home)
    assert answer(shopkeeper(home, "down", "--json"))["stopped"]
    assert psutil.wait_procs(tree, timeout=10)[1] == []
    assert answer(shopkeeper(home, "status", "--json"))["ready"] is False
    assert answer(shopkeeper(home, "down", "--json"))["stopped"] is False
