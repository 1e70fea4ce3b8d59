"""How far behind the store a replica's catalogue is, over both stores."""

from __future__ import annotations

import time

from deployments.catalogue import Catalogue, CatalogueTail
from deployments.state.store import Store


def test_an_update_is_seen_within_250_ms_at_50_000_items(store: Store) -> None:
    attributes = {"hue": "red", "size": "M"}
    rows = [
        {"item_id": f"i{n}", "title": "t" * 30, "category": ["a", f"c{n % 50}"], "price": 1.0, "attributes": attributes}
        for n in range(50_000)
    ]
    for start in range(0, len(rows), 10_000):
        store.upsert_items(rows[start : start + 10_000])
    tail = CatalogueTail(store, Catalogue())
    tail.start()
    waited_s = []
    for n in range(5):
        written_at = time.perf_counter()
        store.upsert_items([{"item_id": f"i{n}", "stock": 0}])
        assert tail.wait_for(store.catalogue_seq(), timeout_s=10)
        assert not tail.catalogue.view.available([f"i{n}"])[0]
        waited_s.append(time.perf_counter() - written_at)
    tail.stop()
    assert sorted(waited_s)[2] < 0.25
