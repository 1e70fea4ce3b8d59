"""What each adapter reads of its format, and how it names what is wrong."""

from __future__ import annotations

import gzip
import json
import stat
import tracemalloc
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.contracts.errors import InputError, Problem
from training.contracts.shop import Shop
from training.datasets.adapter import shop_id_of
from training.datasets.registry import dataset
from training.datasets.sequence_file import looks_like_sequences
from training.datasets.text_files import read_text

ID = st.text("abcé0123456789", min_size=1, max_size=6).map(lambda text: f"{text}7")
SEQUENCES = st.dictionaries(ID, st.lists(ID, min_size=1, max_size=8), min_size=1, max_size=8)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def load(name: str, source: Path) -> Shop:
    out = source.parent / "shop"
    dataset(name).read(source, out, force=True)
    return Shop(out)


def rows(shop: Shop, table: str) -> dict[str, dict[str, Any]]:
    """Rows by their first column."""
    return {next(iter(row.values())): row for row in shop.table(table).to_pylist()}


def problem(name: str, source: Path) -> Problem:
    with pytest.raises(InputError) as raised:
        load(name, source)
    assert not (source.parent / "shop").exists()
    return raised.value.problems[0]


@pytest.mark.parametrize(
    ("names", "shop_id"),
    [(("complete-journey", ""), "complete-journey"), (("complete-journey", "_sample"), "complete-journey-sample"),
     (("movielens-1m", "All 3706"), "movielens-1m-all-3706"), (("Ünï",), "n"), (("..",), "")],
)  # fmt: skip
def test_another_part_of_a_data_set_is_another_shop(names: tuple[str, ...], shop_id: str) -> None:
    assert shop_id_of(*names) == shop_id


def test_no_more_is_unpacked_than_is_read(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.txt.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as stream:
        stream.writelines(b"u1 i1 i2\n" * 100_000 for _ in range(40))
    tracemalloc.start()
    assert looks_like_sequences(bomb)
    with pytest.raises(InputError, match="1,000,000 bytes"):
        read_text(bomb, limit_bytes=1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


# amazon-sequences


@settings(max_examples=25, deadline=None)
@given(sequences=SEQUENCES, packed=st.booleans())
def test_every_event_arrives_in_order(
    tmp_path_factory: pytest.TempPathFactory, sequences: dict[str, list[str]], packed: bool
) -> None:
    source = tmp_path_factory.mktemp("source")
    text = "".join(f"{user} {' '.join(items)}\n" for user, items in sequences.items()).encode()
    name = "X.txt.gz" if packed else "X.txt"
    (source / name).write_bytes(gzip.compress(text) if packed else text)
    dataset("amazon-sequences").read(source, source.parent / f"{source.name}-shop")
    events = Shop(source.parent / f"{source.name}-shop").table("events").to_pandas()
    ordered = events.sort_values("timestamp", kind="stable").groupby("user_id")
    assert {user: list(part) for user, part in ordered["item_id"]} == sequences
    assert events["event_id"].is_unique
    assert (ordered["timestamp"].diff().dropna().dt.total_seconds() > 0).all()


def test_amazon_items_from_words_codes_or_nothing(source: Path) -> None:
    (source / "My_Toys.txt").write_text("u1 i1 i2 i3 i4 i5\n")
    (source / "SOURCE.txt").write_text("From 2014, part 1 of 2.\n")
    (source / "My_Toys_item2attributes.json").write_text(json.dumps({"i1": [1], "i4": [17, 3]}))
    (source / "My_Toys_items.tsv").write_text(
        "item_id\tasin\tattributes\tkeyphrase\n"
        'i1\tB1\tL&#39;Or | Games | Cards\tfast &amp; fun "cards"\n'
        "i2\tB2\tUnknown | Games\t\n"
        "i3\tB3\tGames | Cards | ?\tx\n"
        "i9\tB9\tNever | Seen\tx\n"
    )
    shop = load("amazon-sequences", source)
    items = rows(shop, "items")
    assert shop.info.shop_id == "my_toys"
    assert set(items) == {"i1", "i2", "i3", "i4", "i5"}
    assert (items["i1"]["brand"], items["i1"]["category"]) == ("L'Or", ["Games", "Cards"])
    assert items["i1"]["title"] == 'fast & fun "cards"'
    assert (items["i2"]["brand"], items["i2"]["category"], items["i2"]["title"]) == (None, ["Games"], None)
    assert (items["i3"]["brand"], items["i3"]["category"]) == (None, ["Games", "Cards"])
    assert (items["i4"]["tags"], items["i1"]["tags"]) == (["a17", "a3"], None)
    assert (items["i5"]["title"], items["i5"]["category"], items["i5"]["tags"]) == (None, None, None)


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (b"u1 i1\nu2\n", 2, "without items"),
        (b"u1 i1\n\nu1 i2\n", 3, "line 1 already"),
        (b"u1 i1\nu2 i\xff2\n", 2, "cannot be decoded"),
        (b"u1 i1\nu2 i" + b"2" * 300 + b"\n", 2, "256 characters"),
    ],
)
def test_malformed_sequence_is_named(source: Path, content: bytes, line: int, said: str) -> None:
    (source / "sequences_a.txt").write_bytes(content)
    found = problem("movielens-1m", source)
    assert (found.file, found.line) == (str(source / "sequences_a.txt"), line)
    assert said in found.problem


def test_candidates_are_named(source: Path) -> None:
    assert problem("amazon-sequences", source).found == "an empty folder"
    (source / "notes.txt").write_text("Nothing but prose here.\n")
    assert problem("amazon-sequences", source).found == "notes.txt"
    (source / "A.txt").write_text("u1 i1 i2\n")
    (source / "B.txt").write_text("u1 i1 i2\n")
    assert problem("amazon-sequences", source).found == "A.txt, B.txt"
    (source / "B_item2attributes.json").write_text("{}")
    assert load("amazon-sequences", source).info.shop_id == "b"


@pytest.mark.parametrize(("text", "line"), [('{"i1": [1],\n', 2), ("[]", None), ('{"i1": 3}', None)])
def test_malformed_attributes_are_named(source: Path, text: str, line: int | None) -> None:
    (source / "A.txt").write_text("u1 i1 i2\n")
    (source / "A_item2attributes.json").write_text(text)
    found = problem("amazon-sequences", source)
    assert (found.file, found.line) == (str(source / "A_item2attributes.json"), line)


# movielens-1m


def movielens(source: Path) -> None:
    (source / "sequences_x.txt.gz").write_bytes(gzip.compress(b"1 10 20\n2 20 30\n"))
    (source / "items.tsv").write_text(
        "movie_id\ttitle\tgenres\tn_ratings\n"
        "10\tRésumé (1995)\tDrama|War\t5\n20\tB\t(no genres listed)\t5\n40\tZ\tX\t1\n"
    )
    (source / "users.dat").write_bytes("1::F::25::3::1234é\n".encode("latin-1"))


def posters(source: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(source / "posters_x.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_movielens_items_users_posters(source: Path) -> None:
    movielens(source)
    posters(source, {"10.jpg": b"ten", "p/20.png": b"twenty", "99.jpg": b"unknown", "README": b"x"})
    shop = load("movielens-1m", source)
    (sequences,) = source.glob("sequences_*.txt*")
    assert shop.info.shop_id == f"movielens-1m-{sequences.name.split('.')[0].removeprefix('sequences_')}"
    items = rows(shop, "items")
    assert (items["10"]["title"], items["10"]["category"], items["10"]["tags"]) == (
        "Résumé (1995)",
        ["Drama"],
        ["Drama", "War"],
    )
    assert (items["20"]["category"], items["30"]["title"], set(items)) == (None, None, {"10", "20", "30"})
    assert dict(rows(shop, "users")["1"]["attributes"]) == {
        "gender": "F",
        "age": "25",
        "occupation": "3",
        "zip": "1234é",
    }
    assert rows(shop, "users")["2"]["attributes"] is None
    assert {row["item_id"]: row["path"] for row in shop.table("images").to_pylist()} == {
        "10": "posters/10.jpg",
        "20": "posters/20.png",
    }
    assert (shop.path / items["10"]["image"]).read_bytes() == b"ten"
    assert sorted(path.name for path in (shop.path / "posters").iterdir()) == ["10.jpg", "20.png"]


@pytest.mark.parametrize("name", ["../10.jpg", "a/../../10.jpg", "/10.jpg", "..\\10.jpg", "C:/10.jpg", "../readme"])
def test_archive_members_that_leave_are_refused(source: Path, name: str) -> None:
    movielens(source)
    posters(source, {"20.jpg": b"x", name: b"x"})
    found = problem("movielens-1m", source)
    assert found.field == name
    assert not list(source.parent.rglob("10.jpg"))


def test_archive_links_are_refused(source: Path) -> None:
    movielens(source)
    link = zipfile.ZipInfo("10.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(source / "posters_x.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "link" in problem("movielens-1m", source).problem


def test_archive_bomb_is_refused(source: Path) -> None:
    movielens(source)
    with zipfile.ZipFile(source / "posters_x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("10.jpg", bytes(20_000_001))
    assert "20,000,000 bytes" in problem("movielens-1m", source).problem


def test_damaged_archive_is_named(source: Path) -> None:
    movielens(source)
    posters(source, {"10.jpg": b"x" * 100})
    content = (source / "posters_x.zip").read_bytes()
    (source / "posters_x.zip").write_bytes(content[: len(content) // 2])
    assert problem("movielens-1m", source).file == str(source / "posters_x.zip")


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("items.tsv", "movie_id\ttitle\tgenres\n10\tA\n", 2),
        ("items.tsv", "movie_id\ttitel\tgenres\n", 1),
        ("items.tsv", "movie_id\ttitle\tgenres\n10\tA\tX\n10\tB\tX\n", 3),
        ("users.dat", "1::F::1::1::1\n2::M::1\n", 2),
    ],
)
def test_malformed_movielens_line_is_named(source: Path, name: str, content: str, line: int) -> None:
    movielens(source)
    (source / name).write_text(content)
    found = problem("movielens-1m", source)
    assert (Path(found.file or "").name, found.line) == (name, line)


# complete-journey

TRANSACTIONS = (
    "household_id,store_id,basket_id,product_id,quantity,sales_value,retail_disc,coupon_disc,week,"
    "transaction_timestamp\n"
)


def journey(source: Path, lines: str) -> None:
    (source / "transactions.csv").write_text(TRANSACTIONS + lines)


def test_journey_tables(source: Path) -> None:
    journey(
        source,
        "h1,s1,b2,p1,2,5.0,0,0,2,2017-01-03 10:00:00\n"
        "h1,s1,b1,p1,1,2.0,0,0,1,2017-01-01 10:00:00\n"
        "h1,s1,b1,p2,0,0,0.5,0,1,2017-01-01 10:00:00\n",
    )
    (source / "products.csv").write_text(
        "product_id,manufacturer_id,department,brand,product_category,product_type,package_size\n"
        'p1,7,GROCERY,National,BREAD,"BREAD, WHITE",1 LB\np3,7,GROCERY,Private,,,\n'
    )
    (source / "demographics.csv").write_text(
        "household_id,age,income,home_ownership,marital_status,household_size,household_comp,kids_count\n"
        "h1,65+,,Homeowner,,2,x,0\n"
    )
    (source / "promotions.csv").write_text(
        "product_id,store_id,display_location,mailer_location,week\np1,s1,3,0,2\np2,s1,0,A,1\n"
    )
    (source / "coupons.csv").write_text("coupon_upc,product_id,campaign_id\nc1,p1,9\nc1,p1,9\n")
    (source / "campaign_descriptions.csv").write_text("campaign_id,start_date\n9,2017-01-02\n")
    shop = load("complete-journey", source)
    items, orders = rows(shop, "items"), rows(shop, "orders")
    assert set(items) == {"p1", "p2", "p3"}
    assert (items["p1"]["price"], items["p2"]["price"], items["p3"]["price"]) == (2.25, None, None)
    assert items["p1"]["category"] == ["GROCERY", "BREAD", "BREAD, WHITE"]
    assert dict(items["p1"]["attributes"]) == {"package_size": "1 LB", "manufacturer": "7"}
    assert dict(rows(shop, "users")["h1"]["attributes"])["age"] == "65+"
    assert [len(order["lines"]) for order in orders.values()] == [2, 1]
    assert orders["b2"]["lines"] == [{"item_id": "p1", "quantity": 2.0, "price": 2.5}]
    assert shop.info.reference_date == datetime(2017, 1, 3, 10, tzinfo=UTC)
    placed = {
        (row["kind"], row["item_id"], row["detail"], row["timestamp"].day)
        for row in shop.table("placements").to_pylist()
    }
    assert placed == {("display", "p1", "3", 2), ("mailer", "p2", "A", 26), ("coupon", "p1", "9:c1", 2)}


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("h1,s1,b1,p1,many,2.0,0,0,1,2017-01-01 10:00:00", "quantity"),
        ("h1,s1,b1,p1,1,nan,0,0,1,2017-01-01 10:00:00", "sales_value"),
        ("h1,s1,b1,p1,1,2,0,0,1,yesterday", "transaction_timestamp"),
        (",s1,b1,p1,1,2,0,0,1,2017-01-01 10:00:00", "household_id"),
        ("h1,s1,b1,p1,1,2", None),
    ],
)
def test_malformed_transaction_is_named(source: Path, row: str, column: str | None) -> None:
    good = "h1,s1,b1,p1,1,2,0,0,1,2017-01-01 10:00:00\n"
    journey(source, good + row + "\n" + good)
    found = problem("complete-journey", source)
    assert (found.line, found.column) == (3, column)


def test_journey_without_transactions(source: Path) -> None:
    (source / "products.csv").write_text("x\n")
    assert "products.csv" in (problem("complete-journey", source).found or "")
