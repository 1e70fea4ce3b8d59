"""Which slots may be shown: by the catalogue of now, for slots that go on coming."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.item_masks import ItemMasks
from deployments.live import LiveShop
from deployments.state.sqlite import SqliteStore


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveShop]:
    opened = SqliteStore(tmp_path / "state.sqlite", "shop")
    yield LiveShop(opened)
    opened.close()


def follow(live: LiveShop) -> None:
    """Read the catalogue to its end."""
    live.tail.catch_up()


def test_slots_of_one_item_go_together_through_all_changes(live: LiveShop) -> None:
    live.store.upsert_items([{"item_id": "a", "price": 1.0}, {"item_id": "b", "price": 9.0}])
    follow(live)
    masks, slots = ItemMasks(live), ["a", "b", "a", "gone"]
    assert masks.allowed(None, slots).tolist() == [True, True, True, False]
    assert masks.allowed("price < 5", slots).tolist() == [True, False, True, False]
    slots += ["b", "new"]
    assert masks.allowed("price > 5", slots).tolist() == [False, True, False, False, True, False]
    live.store.upsert_items([{"item_id": "a", "stock": 0}, {"item_id": "new"}])
    follow(live)
    assert masks.allowed(None, slots).tolist() == [False, True, False, False, True, True]
    texts = ["new", "a"]
    assert masks.allowed(None, texts).tolist() == [True, False]


def test_a_shop_without_a_catalogue_shows_everything_and_filters_nothing_in(live: LiveShop) -> None:
    masks = ItemMasks(live)
    assert masks.allowed(None, ["a"]) is None
    assert masks.allowed("price < 5", ["a"]).tolist() == [False]
