"""The same promises with Redis as the state, in a shop that lacks what a ranker learns from."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.whole_system import answer, free_port, kill_system, make_tiny_shop, recommend, shopkeeper

pytestmark = pytest.mark.ray


def shop_of_one_moment(folder: Path) -> Path:
    """All users' last events at the same time: nothing is later than what a ranker would learn from."""
    shop = make_tiny_shop(folder)
    info = (shop / "shop.yaml").read_text()
    assert "ordinal_time: true" in info
    (shop / "shop.yaml").write_text(info.replace("ordinal_time: true", "ordinal_time: false"))
    return shop


def test_an_acknowledged_event_outlives_the_system_and_its_redis(own_redis, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    own_redis.start()
    shop, home, port = shop_of_one_moment(tmp_path), tmp_path / "home", str(free_port())
    up_options = ("up", "--data", str(shop), "--port", port, "--detach", "--json")
    up = answer(shopkeeper(home, *up_options, "--wait-all", SHOPKEEPER_STATE=own_redis.url))
    try:
        assert up["missing"] == ["ranker", "forecaster", "vision"]
        assert set(up["unfit"]) == set(up["missing"])
        assert up["unfit"]["vision"] == "the shop has no images table"
        assert "too few outcomes" in up["unfit"]["ranker"]
        events = [
            {"event_id": f"e{item}", "type": "rating", "user_id": "me", "item_id": f"3{item:02d}"} for item in range(4)
        ]
        assert httpx.post(f"{up['url']}/v1/events", json={"events": events}, timeout=10).status_code == 202
        found = [item["item_id"] for item in recommend(up, "me", limit=5)["items"]]
        assert sum(item_id.startswith("3") for item_id in found) >= 4
        assert not {event["item_id"] for event in events} & set(found)

        own_redis.kill()
        kill_system(home)
        own_redis.start()
        up = answer(shopkeeper(home, *up_options, SHOPKEEPER_STATE=own_redis.url))
        assert httpx.post(f"{up['url']}/v1/events", json={"events": events}, timeout=10).json()["duplicates"] == 4
        again = [item["item_id"] for item in recommend(up, "me", limit=5)["items"]]
        assert not {event["item_id"] for event in events} & set(again)
    finally:
        shopkeeper(home, "down")
