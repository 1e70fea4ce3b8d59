"""The catalogue in memory equals the store's items, however they came about."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.catalogue import Catalogue, CatalogueTail
from deployments.policies.filters import compile_filter
from deployments.state.records import CatalogueEntry
from deployments.state.sqlite import SqliteStore
from deployments.state.store import StoreUnavailable

ids = st.sampled_from(["a", "b", "c", "d'", "é"])
patches = st.fixed_dictionaries(
    {"item_id": ids},
    optional={
        "price": st.none() | st.floats(0, 9),
        "stock": st.none() | st.integers(0, 2),
        "tags": st.none() | st.lists(st.sampled_from(["x", "y"]), max_size=2),
        "attributes": st.none() | st.dictionaries(st.sampled_from(["k", "l"]), st.none() | st.text(max_size=2)),
        "updated_at": st.integers(1, 4).map(lambda day: datetime(2026, 1, day, tzinfo=UTC)),
    },
)
steps = st.lists(st.lists(patches, min_size=1, max_size=4) | ids | st.just("poll"), max_size=12)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "state.sqlite", "shop")
    yield opened
    opened.close()


def _apply(held: dict[str, dict[str, Any]], patch: dict[str, Any]) -> None:
    """The contract of PUT /v1/items, naively."""
    item = held.get(patch["item_id"], {})
    if "updated_at" in patch and "updated_at" in item and patch["updated_at"] < item["updated_at"]:
        return
    new = dict(item)
    for name, value in patch.items():
        if name == "attributes" and value is not None:
            merged = {**item.get(name, {}), **value}
            new[name] = {key: said for key, said in merged.items() if said is not None} or None
        else:
            new[name] = value
    held[patch["item_id"]] = {name: value for name, value in new.items() if value is not None}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_a_tailing_catalogue_equals_the_store(tmp_path_factory: pytest.TempPathFactory, steps: list[Any]) -> None:
    store = SqliteStore(tmp_path_factory.mktemp("catalogue") / "state.sqlite", "shop")
    tail, held = CatalogueTail(store, Catalogue()), dict[str, dict[str, Any]]()
    for step in steps:
        if step == "poll":
            tail.catch_up()
        elif isinstance(step, str):
            assert store.delete_item(step) == (held.pop(step, None) is not None)
        else:
            store.upsert_items(step)
            for patch in step:
                _apply(held, patch)
    tail.catch_up()
    view = tail.catalogue.view
    assert {item_id: view.item(item_id) for item_id in view.row_of} == held
    assert {item_id: store.item(item_id) for item_id in held} == held
    assert view.seq == store.catalogue_seq()
    wanted = [*held, "unknown"]
    assert view.available(wanted).tolist() == [name in held and held[name].get("stock", 1) > 0 for name in wanted]
    filter_ = compile_filter("price < 5 or tags = 'x'")
    assert view.allowed(filter_, wanted).tolist() == [name in held and filter_.matches(held[name]) for name in wanted]
    matching = {view.row_of[item_id] for item_id, item in held.items() if filter_.matches(item)}
    assert set(np.flatnonzero(view.row_mask(filter_)).tolist()) == matching
    store.close()


def test_many_small_updates_leave_a_small_table() -> None:
    catalogue = Catalogue()
    catalogue.apply([CatalogueEntry(n, f"i{n}", {"item_id": f"i{n}", "price": 0.0}) for n in range(1, 101)])
    for n in range(101, 601):
        catalogue.apply([CatalogueEntry(n, f"i{n % 100 + 1}", {"item_id": f"i{n % 100 + 1}", "price": float(n)})])
    view = catalogue.view
    assert len(view) == 100
    assert view.table.num_rows < 150
    assert view.table.column("price").num_chunks < 40
    assert view.row_mask(compile_filter("price > 500")).sum() == 100


def test_a_request_keeps_the_view_it_took() -> None:
    catalogue = Catalogue()
    catalogue.apply([CatalogueEntry(1, "a", {"item_id": "a", "stock": 1})])
    view = catalogue.view
    catalogue.apply([CatalogueEntry(2, "a", {"item_id": "a", "stock": 0}), CatalogueEntry(3, "b", {"item_id": "b"})])
    assert (view.available(["a"])[0], catalogue.view.available(["a"])[0]) == (True, False)
    assert ("b" in view, "b" in catalogue.view) == (False, True)
    catalogue.apply([CatalogueEntry(1, "a", {"item_id": "a", "stock": 1})])
    assert not catalogue.view.available(["a"])[0]


def test_an_empty_catalogue_answers() -> None:
    view = Catalogue().view
    assert view.item("a") is None
    assert view.available(["a"]).tolist() == view.allowed(compile_filter("price < 3"), ["a"]).tolist() == [False]


def test_the_tail_survives_a_store_that_is_away(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    tail = CatalogueTail(store, Catalogue(), poll_s=0.001)
    tail.start()
    read, failed = store.catalogue_since, threading.Event()

    def away(*_: Any, **__: Any) -> list[CatalogueEntry]:
        failed.set()
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "catalogue_since", away)
        assert failed.wait(10)
    assert store.catalogue_since == read
    store.upsert_items([{"item_id": "a"}])
    assert tail.wait_for(store.catalogue_seq(), timeout_s=10)
    tail.stop()
    assert tail.lag_s < 10
