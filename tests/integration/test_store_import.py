"""A shop goes into state and comes back out, over both stores."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from deployments.state.events import EventRow, Outcome
from deployments.state.exporting import export_shop
from deployments.state.images import image_id_of
from deployments.state.importing import import_shop, shop_clock, shop_info
from deployments.state.store import Store, StoreUnavailable
from tests.hostile_images import encoded, photo
from training.contracts.errors import InputError
from training.contracts.shop import Shop, ShopInfo, new_shop
from training.contracts.tables import STRING_MAP, TABLES
from training.features.profile import EventHistory

SECOND_US = 1_000_000


@pytest.fixture
def shop(tmp_path: Path, shop_id: str) -> Shop:
    """Forty users' events, a few items and sales, and a table that state does not hold."""
    rng = np.random.default_rng(0)
    rows = 1_000
    times = [datetime.fromtimestamp(1_750_000_000 + n, UTC) for n in range(rows)]
    events = pa.table({
        "event_id": [f"e{n}" for n in range(rows)],
        "user_id": [f"u{n}" for n in rng.integers(40, size=rows)],
        "type": rng.choice(["view", "purchase", "impression"], rows).tolist(),
        "item_id": [f"i{n}" for n in rng.integers(9, size=rows)],
        "timestamp": times,
        "context": pa.array([[("device", "app")] if n % 2 else None for n in range(rows)], STRING_MAP),
        "dwell_s": [None if n % 3 else n / 7 for n in range(rows)],
        "split": ["train"] * rows,
    })  # fmt: skip
    items = pa.table({
        "item_id": [f"i{n}" for n in range(9)], "price": [float(n) for n in range(9)], "image": ["pictures/a.jpg"] * 9,
        "category": [["a", "b"]] * 9, "created_at": times[:9],
    })  # fmt: skip
    sales = pa.table(
        {"series_id": ["s"] * 5, "timestamp": times[:5], "demand": [1.0, None, 2.0, 3.0, 4.0], "week": [1, 2, 3, 4, 5]}
    )
    served = pa.table({
        "recommendation_id": ["r1"], "user_id": ["u1"], "as_of": times[:1],
        "slate": [[{"item_id": "i1", "position": 1, "score": 0.5, "propensity": 1.0}]],
        "features": [[[0.25, 3.0]]], "feature_names": [["price", "leaf"]],
        "context": [[0.5, 7.0]], "context_names": [["hour", "views"]],
    })  # fmt: skip
    info = ShopInfo(shop_id=shop_id, reference_date=datetime(2025, 7, 1, tzinfo=UTC), catalogue_seq=500)
    with new_shop(tmp_path / "shop", info) as writer:
        for name, table in {"items": items, "events": events, "sales": sales, "recommendations": served}.items():
            writer.write(name, table)
        writer.write(
            "articles",
            pa.table(
                {
                    "article_id": ["a"],
                    "title": ["t"],
                    "body": ["b"],
                    "intents": [["i"]],
                    "channels": [["c"]],
                    "language": ["en"],
                }
            ),
        )
        (writer.folder / "pictures").mkdir()
        (writer.folder / "pictures" / "a.jpg").write_bytes(b"jpeg")
        (writer.folder / "truth").mkdir()
    return Shop(tmp_path / "shop")


def test_a_shop_comes_back_as_it_went_in(store: Store, shop: Shop, tmp_path: Path) -> None:
    report = import_shop(store, shop)
    assert report.rows == {"items": 9, "users": 0, "events": 1_000, "sales": 5, "recommendations": 1}
    counts = export_shop(store, tmp_path / "out")
    out = Shop(tmp_path / "out")
    assert counts == {"items": 9, "events": 1_000, "recommendations": 1, "sales": 5, "articles": 1}
    for table, key in {
        "items": "item_id",
        "events": "event_id",
        "sales": "timestamp",
        "recommendations": "user_id",
    }.items():
        assert out.table(table).sort_by(key).to_pylist() == shop.table(table).sort_by(key).to_pylist()
    assert (out.path / "pictures" / "a.jpg").read_bytes() == b"jpeg"
    assert not (out.path / "truth").exists()
    assert out.info.catalogue_seq == store.catalogue_seq() == 500
    assert out.info.reference_date >= shop.info.reference_date


def test_profiles_equal_those_training_sees(store: Store, shop: Shop) -> None:
    import_shop(store, shop)
    history = EventHistory(shop.table("events"))
    for user_id in history.users():
        assert store.profile(user_id) == history.profile(user_id, as_of_us=1 << 60)


def test_a_shop_is_imported_once(store: Store, shop: Shop) -> None:
    import_shop(store, shop)
    store.upsert_items([{"item_id": "i1", "price": 99.0}])
    assert import_shop(store, shop).rows == {}
    item = store.item("i1")
    assert item is not None
    assert item["price"] == 99.0
    assert shop_info(store) == shop.info


def test_an_export_brings_back_what_happened_live(store: Store, shop: Shop, tmp_path: Path) -> None:
    import_shop(store, shop)
    now_us = shop_clock(store).now_us()
    live = [EventRow(user_id, "view", "i1", event_id="e1", received_at_us=now_us) for user_id in ("new", "newer")]
    assert store.append_events(live) == [Outcome.ACCEPTED, Outcome.ACCEPTED]
    store.append_sales([{"series_id": "s", "timestamp": datetime(2026, 6, 1, tzinfo=UTC), "demand": 7.0, "note": "x"}])
    store.upsert_users([{"user_id": "new", "attributes": {"a": "b"}}])
    export_shop(store, tmp_path / "out")
    out = Shop(tmp_path / "out")
    ids = out.table("events")["event_id"].to_pylist()
    assert len(ids) == len(set(ids)) == store.stats()["events"]
    assert out.table("sales").num_rows == 6
    assert out.table("sales")["note"].to_pylist().count("x") == 1
    assert out.table("sales").schema.field("week").type == pa.int64()
    assert out.table("users").to_pylist() == [{"user_id": "new", "attributes": [("a", "b")], "created_at": None}]
    with pytest.raises(InputError, match="not empty"):
        export_shop(store, tmp_path / "out")


def test_an_export_is_known_to_the_state_it_came_from(store: Store, shop: Shop, tmp_path: Path) -> None:
    import_shop(store, shop)
    now_us = shop_clock(store).now_us()
    store.append_events([EventRow(user_id, "view", "i1", event_id="e1", received_at_us=now_us) for user_id in "ab"])
    export_shop(store, tmp_path / "out")
    assert import_shop(store, Shop(tmp_path / "out")).rows == {}
    assert store.stats()["events"] == 1_002


def test_pictures_that_came_live_are_exported(store: Store, shop: Shop, tmp_path: Path) -> None:
    """As files and rows, once, beside the images of the imported shop; its own files stay as they were."""
    carried = {"image_id": ["own"], "item_id": ["i1"], "path": ["pictures/a.jpg"], "label": ["cup"]}
    with new_shop(tmp_path / "pictured", shop.info) as writer:
        writer.write("items", shop.table("items"))
        writer.write("images", pa.table(carried))
    pictured = Shop(tmp_path / "pictured")
    import_shop(store, pictured)
    data = encoded(photo(), "PNG")
    store.put_images("i1", {image_id_of("i1", data): data})
    store.put_images("i2", {image_id_of("i2", data): data})
    store.delete_item("i2")
    export_shop(store, tmp_path / "out")
    export_shop(store, tmp_path / "again")
    for out in (Shop(tmp_path / "out"), Shop(tmp_path / "again")):
        own, put = out.table("images").to_pylist()
        assert (own["image_id"], own["label"]) == ("own", "cup")
        assert (put["image_id"], put["item_id"]) == (image_id_of("i1", data), "i1")
        assert (out.path / put["path"]).read_bytes() == data
    assert pictured.table("images").num_rows == 1


def test_what_pictures_alone_are_of_becomes_the_catalogue(store: Store, shop: Shop, tmp_path: Path) -> None:
    box = {"x0": 0.1, "y0": 0.1, "x1": 0.5, "y1": 0.5}
    boxes = [None, None, [{**box, "label": "bag"}, {**box, "label": "hat"}]]
    with new_shop(tmp_path / "pictured", shop.info) as writer:
        writer.write("images", pa.table({
            "image_id": ["1", "2", "3"], "item_id": ["i1", None, None], "path": ["a.jpg"] * 3,
            "label": ["cup", "mug", None], "boxes": pa.array(boxes, TABLES["images"].schema.field("boxes").type),
        }))  # fmt: skip
    import_shop(store, Shop(tmp_path / "pictured"))
    assert [entry.item_id for entry in store.catalogue_since(0)] == ["bag", "hat", "i1", "mug"]
    with new_shop(tmp_path / "labelled", shop.info) as writer:
        writer.write("images", pa.table({"image_id": ["1"], "path": ["a.jpg"], "label": ["cup"]}))
    import_shop(store, Shop(tmp_path / "labelled"))
    assert store.item("cup") is not None
    with new_shop(tmp_path / "odd", shop.info) as writer:
        writer.write("images", pa.table({"image_id": ["1"], "path": ["a.jpg"], "label": ["c\0up"]}))
    with pytest.raises(InputError, match="control character in what a picture is of"):
        import_shop(store, Shop(tmp_path / "odd"))


def test_pictures_of_an_article_that_is_gone_are_not_exported(store: Store, shop: Shop, tmp_path: Path) -> None:
    """Though another came under its id, whose own picture is; what items still name stays."""
    names = ["i1", "i2", "i3"]
    with new_shop(tmp_path / "pictured", shop.info) as writer:
        writer.write("items", pa.table({"item_id": names, "image": ["pictures/i2.jpg"] * 3}))
        writer.write("images", pa.table({
            "image_id": names, "item_id": names, "path": [f"pictures/{name}.jpg" for name in names],
        }))  # fmt: skip
        (writer.folder / "pictures").mkdir()
        for name in names:
            (writer.folder / "pictures" / f"{name}.jpg").write_bytes(b"jpeg")
    import_shop(store, Shop(tmp_path / "pictured"))
    for gone in ("i1", "i2"):
        store.delete_item(gone)
    store.upsert_items([{"item_id": "i1"}])
    export_shop(store, tmp_path / "out")
    out = Shop(tmp_path / "out")
    assert out.table("images")["image_id"].to_pylist() == ["i3"]
    assert sorted(file.name for file in (out.path / "pictures").iterdir()) == ["i2.jpg", "i3.jpg"]
    data = encoded(photo(), "PNG")
    store.put_images("i1", {image_id_of("i1", data): data})
    export_shop(store, tmp_path / "again")
    assert Shop(tmp_path / "again").table("images")["item_id"].to_pylist() == ["i3", "i1"]
    with new_shop(tmp_path / "later", shop.info) as writer:
        writer.write("items", pa.table({"item_id": ["i2"], "title": ["new"]}))
        writer.write("images", pa.table({"image_id": ["new"], "item_id": ["i2"], "path": ["pictures/new.jpg"]}))
    import_shop(store, Shop(tmp_path / "later"))
    export_shop(store, tmp_path / "last")
    assert Shop(tmp_path / "last").table("images")["item_id"].to_pylist() == ["i2", "i1"]
    assert len(list((tmp_path / "pictured" / "pictures").iterdir())) == 3


def test_a_shop_imported_before_another_revives_nothing(store: Store, shop: Shop, tmp_path: Path) -> None:
    import_shop(store, shop)
    with new_shop(tmp_path / "other", shop.info) as writer:
        writer.write("items", pa.table({"item_id": ["more"]}))
    import_shop(store, Shop(tmp_path / "other"))
    store.delete_item("i1")
    assert import_shop(store, shop).rows == {}
    assert store.item("i1") is None


def test_nothing_to_export(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no shop has been imported"):
        export_shop(store, tmp_path / "out")


def test_the_clock_counts_on_from_the_reference_date(store: Store, shop: Shop) -> None:
    wall_us = 1_900_000_000 * SECOND_US
    import_shop(store, shop, wall_us=lambda: wall_us)
    clock = shop_clock(store)
    assert clock.offset_us == int(shop.info.reference_date.timestamp()) * SECOND_US - wall_us


def test_an_import_that_was_cut_off_goes_on(store: Store, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.state.importing.PIECE_ROWS", 300)
    append, calls = store.append_events, []

    def cut_off(rows: list[EventRow]) -> list[Outcome]:
        calls.append(len(rows))
        if len(calls) == 3:
            raise StoreUnavailable("the power went")
        return append(rows)

    with monkeypatch.context() as patch:
        patch.setattr(store, "append_events", cut_off)
        with pytest.raises(StoreUnavailable):
            import_shop(store, shop)
    assert shop_info(store) is None
    assert store.stats()["events"] == 600
    report = import_shop(store, shop)
    assert report.duplicate_events == 0
    assert store.stats()["events"] == 1_000
    assert shop_info(store) == shop.info


def test_the_same_events_in_a_changed_shop_count_once(store: Store, shop: Shop) -> None:
    import_shop(store, shop)
    (shop.path / "shop.yaml").write_text(shop.info.model_copy(update={"name": "renamed"}).to_yaml())
    assert import_shop(store, Shop(shop.path)).duplicate_events == 1_000
    assert store.stats()["events"] == 1_000
