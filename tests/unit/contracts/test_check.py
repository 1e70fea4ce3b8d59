"""`check_shop` names table, row and column of everything that is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.contracts.check import check_shop
from training.contracts.errors import InputError, Problem
from training.contracts.shop import Shop, ShopInfo

REFERENCE = datetime(2026, 6, 30, tzinfo=UTC)


def time(day: int, month: int = 6, year: int = 2026) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


def events(**changed: Any) -> dict[str, Any]:
    rows: dict[str, Any] = {
        "event_id": ["e0", "e1", "e2", "e3"],
        "user_id": ["u0", "u0", "u1", "u1"],
        "type": ["view", "purchase", "view", "custom:share"],
        "item_id": ["a", "b", "a", "b"],
        "timestamp": [time(1), time(2), time(3), time(4)],
    }
    return rows | changed


def items(**changed: Any) -> dict[str, Any]:
    return {"item_id": ["a", "b"], "price": [1.0, 2.0], "title": ["A", None]} | changed


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A shop without a flaw."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.yaml").write_text(ShopInfo(shop_id="s", reference_date=REFERENCE).to_yaml())
    write(folder, "items", items())
    write(folder, "events", events())
    return folder


def write(shop: Path, table: str, columns: dict[str, Any]) -> None:
    pq.write_table(pa.table(columns), shop / f"{table}.parquet")


def errors(shop: Path) -> list[Problem]:
    return [problem for problem in check_shop(shop).problems if problem.severity == "error"]


def only(shop: Path, severity: str = "error") -> Problem:
    (problem,) = [problem for problem in check_shop(shop).problems if problem.severity == severity]
    return problem


def test_flawless_shop(shop: Path) -> None:
    report = check_shop(shop)
    assert report.ok
    assert report.problems == []
    assert report.tables == {"items": 2, "events": 4}


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such shop folder"):
        check_shop(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("table", "columns", "column", "row", "problem"),
    [
        ("items", items(price=[1.0, float("nan")]), "price", 1, "not a finite number"),
        ("items", items(price=[float("inf"), 1.0]), "price", 0, "not a finite number"),
        ("items", items(price=[1.0, -1.0]), "price", 1, "negative price"),
        ("items", items(price=["1", "dear"]), "price", 1, "wrong type"),
        ("items", items(item_id=["a", "a"]), "item_id", 1, "duplicate key"),
        ("items", items(item_id=["a", None]), "item_id", 1, "null in a required column"),
        ("items", items(item_id=["a", ""]), "item_id", 1, "empty id"),
        ("items", items(item_id=["a", "b" * 257]), "item_id", 1, "id too long"),
        ("items", items(item_id=[1, 2]), "item_id", None, "wrong type"),
        ("items", items(image=[None, "../b.jpg"]), "image", 1, "path leaves the shop"),
        ("items", items(image=[None, "x/../../b.jpg"]), "image", 1, "path leaves the shop"),
        ("items", items(image=["/etc/passwd", None]), "image", 0, "absolute path"),
        ("items", items(image=["C:\\b.jpg", None]), "image", 0, "absolute path"),
        ("events", events(type=["view", "vieew", "view", "view"]), "type", 1, "unknown event type"),
        ("events", events(type=["view", "view", "custom:", "view"]), "type", 2, "unknown event type"),
        ("events", events(timestamp=[time(1, year=1969)] + [time(1)] * 3), "timestamp", 0, "time before 1970"),
        ("events", events(timestamp=[time(1)] * 3 + [time(2, 7)]), "timestamp", 3, "time after the shop's"),
        ("events", events(timestamp=["2026-06-01"] * 4), "timestamp", 0, "wrong type"),
        ("events", events(user_id=["u0", None, "u1", "u1"]), "user_id", 1, "null in a required column"),
        ("events", events(colour=["red"] * 4), "colour", None, "unknown column"),
        ("placements", {"item_id": ["a"], "timestamp": [time(1)], "kind": ["poster"]}, "kind", 0, "unknown kind"),
        ("sales", {"series_id": ["s", "s"], "timestamp": [time(1), time(1)]}, "series_id, timestamp", 1, "duplicate"),
    ],
)  # fmt: skip
def test_one_flaw_is_named(
    shop: Path, table: str, columns: dict[str, Any], column: str, row: int | None, problem: str
) -> None:
    write(shop, table, columns)
    found = only(shop)
    assert (found.table, found.column, found.row) == (table, column, row)
    assert problem in found.problem


def test_nested_numbers_are_checked(shop: Path) -> None:
    lines = [[], [{"item_id": "a", "quantity": 1.0, "price": float("nan")}]]
    write(shop, "orders", {"order_id": ["1", "2"], "user_id": ["u", "u"], "timestamp": [time(1)] * 2,
                           "status": ["x"] * 2, "lines": lines})  # fmt: skip
    found = only(shop)
    assert (found.table, found.column, found.row) == ("orders", "lines.price", 1)


def box(x0: float | None, y0: float | None, x1: float | None, y1: float | None) -> dict[str, Any]:
    return {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "label": "hat"}


@pytest.mark.parametrize(
    "wrong",
    [box(10, 20, 300, 400), box(0.5, 0.1, 0.2, 0.9), box(0.1, 0.5, 0.2, 0.5), box(-0.1, 0, 1, 1), box(0, 0, None, 1),
     None],
)  # fmt: skip
def test_a_box_that_is_no_part_of_its_photo(shop: Path, wrong: dict[str, Any] | None) -> None:
    (shop / "a.jpg").write_bytes(b"x")
    boxes = [None, [], [box(0, 0, 1, 1)], [box(0.1, 0.2, 0.3, 0.4), wrong]]
    write(shop, "images", {"image_id": list("0123"), "path": ["a.jpg"] * 4, "boxes": boxes})
    found = only(shop)
    assert (found.table, found.column, found.row) == ("images", "boxes", 3)
    assert "shares of the photo" in str(found.allowed)
    assert ("hat" if wrong else "None") in str(found.found)
    write(shop, "images", {"image_id": list("012"), "path": ["a.jpg"] * 3, "boxes": boxes[:3]})
    assert check_shop(shop).ok


def test_absent_required_column(shop: Path) -> None:
    write(shop, "items", {"price": [1.0]})
    assert only(shop).column == "item_id"


def test_unknown_column_names_the_nearest(shop: Path) -> None:
    write(shop, "items", {"item_id": ["a", "b"], "prise": [1.0, 2.0]})
    assert only(shop).nearest == "price"


def test_unknown_event_type_names_the_nearest(shop: Path) -> None:
    write(shop, "events", events(type=["view", "purchas", "view", "view"]))
    found = only(shop)
    assert (found.found, found.nearest) == ("purchas", "purchase")


@pytest.mark.parametrize("folder", [False, True])
def test_unknown_table_names_the_nearest(shop: Path, folder: bool) -> None:
    (shop / "item").mkdir() if folder else None
    write(shop / "item" if folder else shop, "part" if folder else "item", items())
    found = only(shop)
    assert (found.table, found.nearest, found.problem) == ("item", "items", "unknown table")


def test_a_table_twice(shop: Path) -> None:
    (shop / "items").mkdir()
    (shop / "items" / "picture.jpg").write_bytes(b"x")
    assert check_shop(shop).ok
    write(shop / "items", "part", items())
    assert only(shop).table == "items"


def test_truth_folder_is_no_table(shop: Path) -> None:
    (shop / "truth").mkdir()
    write(shop / "truth", "users", {"anything": [1]})
    assert check_shop(shop).problems == []


def test_bad_shop_yaml_names_field_and_nearest(shop: Path) -> None:
    with open(shop / "shop.yaml", "a") as file:
        file.write("curency: EUR\n")
    found = only(shop)
    assert (found.field, found.nearest) == ("curency", "currency")


def test_date_that_does_not_exist(shop: Path) -> None:
    (shop / "shop.yaml").write_text("shop_id: s\nreference_date: 2026-02-30\n")
    assert only(shop).file == str(shop / "shop.yaml")


def test_empty_shop(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(ShopInfo(shop_id="s", reference_date=REFERENCE).to_yaml())
    assert "empty" in only(tmp_path).problem


@pytest.mark.parametrize("keep", [0, 3, 200])
def test_truncated_file(shop: Path, keep: int) -> None:
    content = (shop / "events.parquet").read_bytes()
    (shop / "events.parquet").write_bytes(content[:keep])
    found = only(shop)
    assert found.table == "events"
    assert "cannot be read" in found.problem


def test_rows_count_over_all_files(shop: Path) -> None:
    (shop / "events.parquet").unlink()
    (shop / "events").mkdir()
    write(shop / "events", "part-0", events())
    write(shop / "events", "part-1", events(event_id=["f0", "f1", "e1", "f3"]))
    found = only(shop)
    assert (found.row, found.found) == (6, "the key of row 1")


def test_examples_are_capped_and_counted(shop: Path) -> None:
    write(shop, "items", {"item_id": [str(i) for i in range(1000)] + ["a", "b"], "price": [-1.0] * 1002})
    found = errors(shop)
    assert len(found) == 6
    assert [problem.row for problem in found[:5]] == [0, 1, 2, 3, 4]
    assert "997 more rows" in found[5].problem


def test_rows_known_ahead_may_lie_in_the_future(shop: Path) -> None:
    write(shop, "sales", {"series_id": ["s", "s"], "timestamp": [time(1, 6), time(1, 12)], "demand": [1.0, None]})
    write(shop, "placements", {"item_id": ["a"], "timestamp": [time(1, 12)], "kind": ["coupon"]})
    assert check_shop(shop).ok
    write(shop, "sales", {"series_id": ["s", "s"], "timestamp": [time(1, 6), time(1, 12)], "demand": [1.0, 2.0]})
    assert only(shop).row == 1


def test_open_columns_of_sales_are_covariates(shop: Path) -> None:
    write(shop, "sales", {"series_id": ["s"], "timestamp": [time(1)], "demand": [1.0], "rain": [float("nan")]})
    assert only(shop).column == "rain"


def test_warnings_do_not_fail_a_shop(shop: Path) -> None:
    write(shop, "events", events(item_id=["a", "b", "a", "gone"], user_id=["u0", "u0", "u0", "alone"]))
    write(shop, "sales", {"series_id": ["s"], "timestamp": [time(1)], "demand": [-1.0]})
    write(shop, "items", items(image=["images/a.jpg", None]))
    report = check_shop(shop)
    assert report.ok
    text = " ".join(problem.problem for problem in report.problems)
    for part in ("items table lacks", "single event", "negative demand", "no such image file"):
        assert part in text


def test_image_behind_a_link(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.jpg").write_bytes(b"x")
    (shop / "images").symlink_to(tmp_path / "outside")
    (shop / "b.jpg").symlink_to(tmp_path / "outside" / "a.jpg")
    write(shop, "items", items(image=["images/a.jpg", "b.jpg"]))
    assert [(problem.row, problem.problem) for problem in errors(shop)] == [
        (0, "path goes through a link"),
        (1, "path goes through a link"),
    ]


def test_text_that_is_not_utf8(shop: Path) -> None:
    bad = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"a\xff")]
    )
    write(shop, "items", {"item_id": ["a", "b"], "title": bad})
    found = only(shop)
    assert (found.table, found.column) == ("items", "title")


def test_reference_date_at_the_end_of_time(shop: Path) -> None:
    info = ShopInfo(shop_id="s", reference_date=datetime(9999, 12, 31, 23, tzinfo=UTC))
    (shop / "shop.yaml").write_text(info.to_yaml())
    assert check_shop(shop).ok


def test_time_that_datetime_cannot_hold(shop: Path) -> None:
    far = pa.array([0, 0, 0, 2**62], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    write(shop, "events", events(timestamp=far))
    assert only(shop).row == 3


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=20), min_size=2, max_size=2))
def test_any_unicode_is_fine(shop: Path, titles: list[str]) -> None:
    write(shop, "items", items(title=[titles[0], (titles[1] + "長") * 10_000]))
    assert check_shop(shop).ok


@pytest.mark.parametrize("type_", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_other_forms_of_strings_are_strings(shop: Path, type_: pa.DataType) -> None:
    write(shop, "items", {"item_id": pa.array(["a", "b"]).cast(type_), "price": pa.array([1, 2], pa.int32())})
    assert check_shop(shop).ok
    assert Shop(shop).table("items", ["item_id", "price"]).to_pydict() == {"item_id": ["a", "b"], "price": [1.0, 2.0]}


@pytest.mark.parametrize("odd", ["a\0b", "a\nb", "\x7f", "\x85"])
def test_control_characters_in_ids(shop: Path, odd: str) -> None:
    write(shop, "events", events(user_id=["u0", "u0", odd, "u1"]))
    (problem,) = errors(shop)
    assert (problem.table, problem.column, problem.row) == ("events", "user_id", 2)
