"""One suite over both stores: SQLite in a file, and a real redis-server of its own."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from deployments.catalogue import Catalogue
from deployments.state.clock import DAY_US, to_us
from deployments.state.events import EventRow, Outcome
from deployments.state.images import MAX_PER_ITEM, Kept
from deployments.state.open import open_store
from deployments.state.records import ServedRow, SlateEntry, Upserted, decode_served, encode_served
from deployments.state.store import Store
from training.contracts.errors import InputError
from training.features.profile import PROFILE_EVENTS

START_US = 1_750_000_000_000_000
SECOND_US = 1_000_000


def _view(user_id: str, item_id: str, at_s: int = 0, *, type_: str = "view", event_id: str | None = None) -> EventRow:
    moment_us = START_US + at_s * SECOND_US
    return EventRow(user_id, type_, item_id, timestamp_us=moment_us, event_id=event_id, received_at_us=moment_us)


def _all_events(store: Store) -> list[EventRow]:
    return [row for rows in store.events() for row in rows]


# Events


def test_an_event_is_read_by_the_next_call(store: Store) -> None:
    assert store.append_events([_view("ann", "tea")]) == [Outcome.ACCEPTED]
    assert store.profile("ann").item_ids == ("tea",)
    assert store.seen("ann") == {"tea"}
    assert store.profile("nobody").item_ids == ()


def test_profile_is_ordered_by_time_then_arrival_and_bounded(store: Store) -> None:
    rows = [_view("ann", f"i{n}", at_s=n) for n in range(PROFILE_EVENTS)]
    store.append_events([*rows[::-1], _view("ann", "twin", at_s=7), _view("ann", "oldest", at_s=-1)])
    store.append_events([_view("ann", f"shown{n}", at_s=900 + n, type_="impression") for n in range(300)])
    profile = store.profile("ann")
    assert len(profile) == PROFILE_EVENTS
    assert profile.item_ids[6:8] == ("i7", "twin")
    assert profile.item_ids[-1] == f"i{PROFILE_EVENTS - 1}"
    assert "oldest" in store.seen("ann")
    assert "shown7" in store.seen("ann")


def test_purchases_since(store: Store) -> None:
    store.append_events([
        _view("ann", "old", 0, type_="purchase"), _view("ann", "new", 100, type_="purchase"), _view("ann", "seen", 100),
    ])  # fmt: skip
    assert store.purchased("ann", since_us=START_US + 50 * SECOND_US) == {"new"}
    assert store.purchased("ann", since_us=START_US) == {"old", "new"}


def test_a_repeated_event_counts_once_and_another_payload_is_a_conflict(store: Store) -> None:
    first = _view("ann", "tea", event_id="e1")
    later = first._replace(received_at_us=START_US + 60 * SECOND_US)
    other = first._replace(item_id="coffee")
    assert store.append_events([first, first, other]) == [Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.CONFLICT]
    assert store.append_events([later, other]) == [Outcome.DUPLICATE, Outcome.CONFLICT]
    assert store.append_events([first._replace(user_id="bob")]) == [Outcome.ACCEPTED]
    assert len(_all_events(store)) == store.stats()["events"] == 2


def test_a_repeat_without_a_time_of_its_own_is_the_same_event(store: Store) -> None:
    said = EventRow("ann", "view", "tea", event_id="e1", received_at_us=START_US)
    again = said._replace(received_at_us=START_US + SECOND_US)
    assert store.append_events([said, again]) == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert store.profile("ann").timestamps_us == (START_US,)


def test_a_time_after_reception_is_moved_and_its_repeat_is_the_same_event(store: Store) -> None:
    said = _view("ann", "tea", 100, event_id="e1")._replace(received_at_us=START_US)
    outcomes = [
        store.append_events([said._replace(received_at_us=START_US + later_us)], shift_us=-60_000_000)
        for later_us in (0, 200_000_000)
    ]
    assert outcomes == [[Outcome.ACCEPTED], [Outcome.DUPLICATE]]
    (held,) = _all_events(store)
    assert held.timestamp_us == START_US + 40_000_000


def test_an_id_counts_again_after_thirty_days(store: Store) -> None:
    first = _view("ann", "tea", event_id="e1")
    store.append_events([first])
    before = first._replace(received_at_us=START_US + 30 * DAY_US - 1)
    after = first._replace(received_at_us=START_US + 30 * DAY_US)
    assert store.append_events([before, after]) == [Outcome.DUPLICATE, Outcome.ACCEPTED]


def test_an_event_keeps_every_field(store: Store) -> None:
    context = {"k": "v", "ключ": ""}
    said = ("e", "s", 4.5, 2.0, 0.1, "q", "r", 3, context, "train", START_US + 1)
    row = EventRow("änn ' \U0001f642", "rating", "té\x00a", START_US, *said)
    store.append_events([row, EventRow("bob", "search", query="tea", timestamp_us=START_US, event_id="f")])
    assert row in _all_events(store)
    assert EventRow("bob", "search", query="tea", timestamp_us=START_US, event_id="f") in _all_events(store)


def test_counters_add_up(store: Store) -> None:
    store.append_events([_view("ann", "?")], counts={"unknown_items": 1})
    store.append_events([_view("ann", "??")], counts={"unknown_items": 2})
    assert store.counters()["unknown_items"] == 3


def test_shops_never_mix(store_url: str, shop_id: str, store: Store, tmp_path: Path) -> None:
    other_url = store_url if store_url.startswith("redis") else f"sqlite:///{tmp_path}/other.sqlite"
    other = open_store(other_url, f"{shop_id}-other")
    store.append_events([_view("ann", "tea")])
    store.upsert_items([{"item_id": "tea"}])
    assert other.stats() | {"bytes": 0} == dict.fromkeys(other.stats(), 0)
    assert not other.profile("ann").item_ids
    other.close()


# Users


def test_merging_joins_the_histories_past_and_future(store: Store) -> None:
    store.append_events([_view("anon", "tea", 1, type_="purchase", event_id="e1"), _view("ann", "pot", 2)])
    for _ in range(2):
        store.merge_users("ann", "anon", now_us=START_US + 10 * SECOND_US)
    store.append_events([_view("anon", "cup", 3)])
    assert store.profile("ann").item_ids == store.profile("anon").item_ids == ("tea", "pot", "cup")
    assert store.seen("ann") == {"tea", "pot", "cup"}
    assert store.purchased("ann", since_us=START_US) == {"tea"}
    assert store.append_events([_view("anon", "tea", 1, type_="purchase", event_id="e1")]) == [Outcome.DUPLICATE]
    assert {row.user_id for row in _all_events(store)} == {"ann"}


def test_moved_events_were_not_known_before_the_merge(store: Store) -> None:
    store.append_events([_view("anon", "tea", 1), _view("ann", "pot", 2)])
    store.merge_users("ann", "anon", now_us=START_US + 10 * SECOND_US)
    received = {row.item_id: row.received_at_us for row in _all_events(store)}
    assert received == {"tea": START_US + 10 * SECOND_US, "pot": START_US + 2 * SECOND_US}


def test_merges_chain_and_circles_change_nothing(store: Store) -> None:
    store.append_events([_view("a", "one", 1), _view("b", "two", 2), _view("c", "three", 3)])
    store.merge_users("b", "a", now_us=START_US)
    store.merge_users("c", "b", now_us=START_US)
    store.merge_users("a", "c", now_us=START_US)
    assert store.profile("a").item_ids == store.profile("c").item_ids == ("one", "two", "three")
    with pytest.raises(InputError, match="itself"):
        store.merge_users("a", "a", now_us=START_US)


def test_a_shared_device_goes_to_whoever_logs_in_last(store: Store) -> None:
    store.append_events([_view("device", "tea", 1)])
    store.merge_users("ann", "device", now_us=START_US)
    store.merge_users("bob", "device", now_us=START_US)
    store.append_events([_view("device", "cup", 2)])
    assert store.seen("ann") == {"tea"}
    assert store.seen("bob") == {"cup"}


def test_user_rows_merge(store: Store) -> None:
    store.upsert_users([{"user_id": "ann", "attributes": {"tier": "gold", "city": "Ulm"}}])
    store.upsert_users(
        [{"user_id": "ann", "attributes": {"city": None}}, {"user_id": "anon", "attributes": {"tier": "-", "app": "1"}}]
    )
    store.merge_users("ann", "anon", now_us=START_US)
    assert store.user("ann") == store.user("anon") == {"user_id": "ann", "attributes": {"tier": "gold", "app": "1"}}
    assert [row["user_id"] for rows in store.users() for row in rows] == ["ann"]


# Catalogue


def test_items_merge_and_null_clears(store: Store) -> None:
    store.upsert_items([{"item_id": "tea", "price": 3.5, "brand": "A", "attributes": {"size": "S", "hue": "green"}}])
    store.upsert_items([{"item_id": "tea", "price": None, "stock": 0, "attributes": {"hue": None, "cut": "leaf"}}])
    assert store.item("tea") == {"item_id": "tea", "brand": "A", "stock": 0, "attributes": {"size": "S", "cut": "leaf"}}
    store.upsert_items([{"item_id": "tea", "attributes": {}}, {"item_id": "tea", "brand": "B"}])
    assert store.item("tea") == {"item_id": "tea", "brand": "B", "stock": 0, "attributes": {"size": "S", "cut": "leaf"}}
    store.upsert_items([{"item_id": "tea", "attributes": None}])
    assert store.item("tea") == {"item_id": "tea", "brand": "B", "stock": 0}


def test_an_older_update_is_stale(store: Store) -> None:
    new, old = datetime(2026, 6, 2, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
    outcomes = store.upsert_items([
        {"item_id": "tea", "price": 1.0, "updated_at": new}, {"item_id": "tea", "price": 2.0, "updated_at": old},
    ])  # fmt: skip
    assert outcomes == [Upserted.UPSERTED, Upserted.STALE]
    assert store.upsert_items([{"item_id": "tea", "price": 3.0, "updated_at": old}]) == [Upserted.STALE]
    assert store.item("tea") == {"item_id": "tea", "price": 1.0, "updated_at": new}
    assert store.upsert_items([{"item_id": "tea", "price": 4.0}]) == [Upserted.UPSERTED]


def test_the_log_lists_the_last_state_of_each_item_in_order(store: Store) -> None:
    store.upsert_items([{"item_id": "a", "price": 1.0}, {"item_id": "b"}, {"item_id": "c"}])
    at = store.catalogue_seq()
    store.upsert_items([{"item_id": "a", "price": 2.0}, {"item_id": "b"}])
    assert store.delete_item("c")
    assert not store.delete_item("c")
    since = store.catalogue_since(at)
    assert [(entry.item_id, entry.item) for entry in since] == [("a", {"item_id": "a", "price": 2.0}), ("c", None)]
    assert since[-1].seq == store.catalogue_seq()
    assert [entry.item_id for entry in store.catalogue_since(0, limit=1)] == ["b"]
    assert store.item("c") is None
    store.raise_catalogue_seq(100)
    store.raise_catalogue_seq(50)
    store.upsert_items([{"item_id": "c"}])
    assert store.catalogue_seq() == 101


def test_concurrent_updates_of_one_item_all_arrive(store: Store) -> None:
    def write(n: int) -> None:
        store.upsert_items([{"item_id": "tea", "attributes": {f"k{n}": "v"}}])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(24)))
    item = store.item("tea")
    assert item is not None
    assert item["attributes"] == {f"k{n}": "v" for n in range(24)}
    catalogue = Catalogue()
    catalogue.apply(store.catalogue_since(0))
    assert catalogue.view.item("tea") == item


# Sales and the served log


def test_the_last_written_sale_wins(store: Store) -> None:
    week = datetime(2026, 6, 1, tzinfo=UTC)
    store.append_sales([{"series_id": "s", "timestamp": week, "demand": 1.0}, {"series_id": "r", "timestamp": week}])
    store.append_sales([{"series_id": "s", "timestamp": week, "demand": 2.0, "holiday": True}])
    rows = [row for rows in store.sales() for row in rows]
    assert rows == [
        {"series_id": "r", "timestamp": week},
        {"series_id": "s", "timestamp": week, "demand": 2.0, "holiday": True},
    ]


def test_sales_of_some_series_from_a_moment_on(store: Store) -> None:
    weeks = [datetime(2026, 1, 5, tzinfo=UTC) + timedelta(weeks=n) for n in range(3)]
    names = [f"s{n}" for n in range(1200)]
    for week in reversed(weeks):
        store.append_sales([{"series_id": name, "timestamp": week, "demand": float(week.day)} for name in names])
    found = store.sales_of([*names[:1100], "nobody"], since_us=to_us(weeks[1]))
    assert set(found) == set(names[:1100])
    assert [row["timestamp"] for row in found["s7"]] == weeks[1:]
    assert store.sales_of(names, since_us=to_us(weeks[2] + timedelta(days=1))) == {}
    assert store.sales_of([], since_us=0) == {}


def _served(name: str) -> ServedRow:
    features = np.array([[0.1, np.inf], [1e-40, -0.0]], np.float32)
    slate = (SlateEntry("tea", 1, 0.1 + 0.2, 1.0), SlateEntry("cup", 2))
    return ServedRow(
        recommendation_id=name, user_id="ann", as_of_us=START_US, slate=slate, features=features,
        feature_names=("a", "b"), release="r1", experiment={"arm": "x"},
        context=np.array([0.1, np.nan, 2**24 - 1], np.float32), context_names=("dwell", "c", "código"),
    )  # fmt: skip


def test_served_answers_come_back_to_the_bit(store: Store) -> None:
    store.log_recommendations([_served("one"), _served("two")])
    found, said = store.recommendation("one"), _served("one")
    assert found is not None
    assert found.features is not None
    assert said.features is not None
    assert found.features.tobytes() == said.features.tobytes()
    assert found.context is not None
    assert said.context is not None
    assert found.context.tobytes() == said.context.tobytes()
    assert found.context_names == said.context_names
    assert (found.slate, found.feature_names, found.experiment) == (said.slate, said.feature_names, said.experiment)
    assert store.recommendation("three") is None
    assert [row.recommendation_id for rows in store.recommendations() for row in rows] == ["one", "two"]


def test_an_answer_logged_before_there_was_context_is_read() -> None:
    old = json.loads(encode_served(_served("one")))
    del old["context"], old["context_names"]
    found = decode_served(json.dumps(old))
    assert (found.context, found.context_names, found.feature_names) == (None, (), ("a", "b"))


def test_the_served_log_keeps_the_newest(store: Store) -> None:
    store._max_recommendations = 3  # type: ignore[attr-defined]
    for n in range(5):
        store.log_recommendations([_served(str(n))])
    assert [row.recommendation_id for rows in store.recommendations() for row in rows] == ["2", "3", "4"]
    assert store.recommendation("0") is None


# Pictures


def test_pictures_stand_in_the_catalogue_log(store: Store) -> None:
    assert store.put_images("tea", {"a": b"1"}) is None
    store.upsert_items([{"item_id": "tea"}, {"item_id": "coffee"}])
    before = store.catalogue_seq()
    assert store.put_images("tea", {"a": b"1", "b": bytes(range(256))}) == [Kept.STORED, Kept.STORED]
    assert store.put_images("tea", {"a": b"1", "c": b"3"}) == [Kept.UNCHANGED, Kept.STORED]
    assert store.put_images("coffee", {"a": b"1"}) == [Kept.STORED]
    said = [(entry.seq - before, entry.item_id, entry.image_id, entry.data) for entry in store.images_since(0)]
    expected = [("tea", "a", b"1"), ("tea", "b", bytes(range(256))), ("tea", "c", b"3"), ("coffee", "a", b"1")]
    assert said == [(step, *entry) for step, entry in enumerate(expected, start=1)]
    assert [entry.image_id for entry in store.images_since(before + 1, limit=2)] == ["b", "c"]
    store.upsert_items([{"item_id": "tea", "stock": 1}])
    assert store.catalogue_seq() == before + 5
    assert store.stats()["images"] == 4


def test_a_deleted_item_takes_its_pictures_along(store: Store) -> None:
    store.upsert_items([{"item_id": "tea"}, {"item_id": "coffee"}])
    store.put_images("tea", {"a": b"1", "b": b"2"})
    seen = store.images_since(0)[-1].seq
    assert store.delete_item("tea")
    (gone,) = store.images_since(seen)
    assert (gone.item_id, gone.data) == ("tea", None)
    assert store.images_since(0) == [gone]
    store.upsert_items([{"item_id": "tea"}])
    assert store.put_images("tea", {"a": b"1"}) == [Kept.STORED]
    assert [entry.data for entry in store.images_since(0)] == [None, b"1"]
    assert store.stats()["images"] == 1


def test_every_deletion_is_logged_for_the_pictures_of_bundles(store: Store) -> None:
    assert not store.delete_item("tea")
    store.upsert_items([{"item_id": "tea"}])
    before = store.catalogue_seq()
    for step in (1, 4):
        assert store.delete_item("tea")
        (gone,) = store.images_since(0)
        assert (gone.seq, gone.item_id, gone.data) == (before + step, "tea", None)
        assert [entry.seq for entry in store.catalogue_since(gone.seq)] == [gone.seq + 1]
        assert store.catalogue_seq() == gone.seq + 1
        store.upsert_items([{"item_id": "tea"}])
    assert store.stats()["images"] == 0


def test_pictures_are_bounded(store_url: str, shop_id: str) -> None:
    store = open_store(store_url, shop_id)
    store._max_image_bytes = 1_000  # type: ignore[attr-defined]
    store.upsert_items([{"item_id": "tea"}, {"item_id": "coffee"}])
    many = {str(number): b"x" for number in range(MAX_PER_ITEM + 1)}
    assert store.put_images("tea", many) == [Kept.STORED] * MAX_PER_ITEM + [Kept.FULL]
    assert store.put_images("coffee", {"large": bytes(990)}) == [Kept.FULL]
    store.delete_item("tea")
    assert store.put_images("coffee", {"large": bytes(990)}) == [Kept.STORED]
    store.close()
