"""Every data set of the registry passes `check_dataset`, on a tiny folder of its format and on the real one."""

from __future__ import annotations

import gzip
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from PIL import Image

from training.contracts.shop import Shop
from training.datasets.registry import DATASETS
from training.features.sales_panel import read_panel

Run = Callable[..., Any]

REAL = {
    "amazon-sequences": ("recsys/amazon_beauty", {"items": 12_101, "users": 22_363, "events": 198_502}),
    "movielens-1m": ("recsys/ml-1m", {"items": 3_416, "users": 6_040, "events": 999_611, "images": 3_232}),
    "complete-journey": ("recsys/completejourney", {"users": 2_377, "events": 75_000, "orders": 47_243}),
    "fashion-mnist": ("vision/fashion_mnist", {"images": 70_000}),
    "image-folders": ("vision/clothing_small", {"images": 3_781}),
    "boxes": ("vision/clothing_coparsing", {"images": 1_004}),
    "walmart-weekly": ("forecast/walmart_weekly", {"sales": 421_570}),
    "dominicks-oj": ("forecast/dominicks_oj", {"sales": 106_139}),
}
WITHOUT_REAL = ("long-table",)
"""Anybody's own data."""
IMPORT_LIMIT_S = 20
LARGE = ("fashion-mnist",)
"""70,000 files take 20 seconds: tests/bench/vision_quality.py imports them."""


def tiny_amazon(folder: Path) -> None:
    (folder / "Tea.txt").write_text("u1 i1 i2 i3\nu2 i3 i1\n")
    (folder / "README.txt").write_text("1 2 3\n")


def tiny_movielens(folder: Path) -> None:
    (folder / "sequences_tiny.txt.gz").write_bytes(gzip.compress(b"1 10 20\n2 20 10\n"))
    (folder / "items.tsv").write_text("movie_id\ttitle\tgenres\n10\tA (1999)\tDrama\n20\tB\tWar|Drama\n")
    with zipfile.ZipFile(folder / "posters_tiny.zip", "w") as archive:
        archive.writestr("10.jpg", b"image")


def tiny_journey(folder: Path) -> None:
    columns = "household_id,store_id,basket_id,product_id,quantity,sales_value,retail_disc,coupon_disc,week"
    (folder / "transactions_sample.csv.gz").write_bytes(
        gzip.compress(
            f"{columns},transaction_timestamp\n"
            "1,3,11,100,1,2.5,0,0,1,2017-01-01 10:00:00\n1,3,12,101,2,3,0,0,1,2017-01-02 10:00:00\n"
            "2,3,13,100,1,2.5,0,0,1,2017-01-01 11:00:00\n2,3,14,100,1,2.5,0,0,1,2017-01-01 12:00:00\n".encode()
        )
    )


def tiny_fashion(folder: Path) -> None:
    for prefix, count in (("train", 3), ("t10k", 2)):
        sizes = b"".join(length.to_bytes(4, "big") for length in (2051, count, 4, 4))
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(sizes + bytes(range(16)) * count))
        sizes = b"".join(length.to_bytes(4, "big") for length in (2049, count))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(sizes + bytes(range(count))))


def tiny_folders(folder: Path) -> None:
    for inner in ("train/hat/1.png", "train/shoe/1.png", "validation/hat/2.png", "test/shoe/1.png"):
        (folder / inner).parent.mkdir(parents=True)
        Image.new("RGB", (8, 6), "red").save(folder / inner)


def tiny_boxes(folder: Path) -> None:
    (folder / "photos").mkdir()
    objects = [{"label": "hat", "box": [0, 0, 4, 3]}]
    images = [
        {"id": f"{n:04d}", "file": f"photos/{n}.png", "width": 8, "height": 6, "objects": objects} for n in (5, 6)
    ]
    for image in images:
        Image.new("RGB", (8, 6), "red").save(folder / str(image["file"]))
    (folder / "boxes.json").write_text(json.dumps({"images": images}))


def tiny_walmart(folder: Path) -> None:
    (folder / "train.csv").write_text(
        "Store,Dept,Date,Weekly_Sales,IsHoliday\n1,1,2010-02-05,24.5,False\n1,1,2010-02-12,-4,True\n"
    )
    (folder / "features.csv").write_text(
        "Store,Date,Temperature,Fuel_Price,MarkDown1,MarkDown2,MarkDown3,MarkDown4,MarkDown5,CPI,Unemployment,IsHoliday\n"
        "1,2010-02-05,42.3,2.5,NA,NA,NA,NA,NA,211.1,8.1,FALSE\n1,2010-02-12,38.5,2.5,NA,3,NA,NA,NA,NA,NA,TRUE\n"
    )
    (folder / "stores.csv").write_text("Store,Type,Size\n1,A,151315\n")


def tiny_juice(folder: Path) -> None:
    prices = ",".join(f"price{brand}" for brand in range(1, 12))
    values = ",".join(f"0.0{brand + 10}" for brand in range(1, 12))
    (folder / "yx.csv.gz").write_bytes(
        gzip.compress(
            f"store,brand,week,logmove,{prices},deal,feat,profit\n2,1,40,9.0,{values},1,0.0,38\n"
            f"2,1,41,8.7,{values},0,0.5,30\n".encode()
        )
    )
    (folder / "storedemo.csv").write_text("STORE\n2\n")


def tiny_long(folder: Path) -> None:
    (folder / "long.csv").write_text(
        "series_id,timestamp,demand,price,colour,part\na,2026-01-05,3,1.5,2,train\na,2026-01-12,,1.4,2,test\n"
    )


TINY = {
    "amazon-sequences": tiny_amazon, "movielens-1m": tiny_movielens, "complete-journey": tiny_journey,
    "fashion-mnist": tiny_fashion, "image-folders": tiny_folders, "boxes": tiny_boxes,
    "walmart-weekly": tiny_walmart, "dominicks-oj": tiny_juice, "long-table": tiny_long,
}  # fmt: skip


def check_dataset(shopkeeper: Run, name: str, folder: Path, out: Path) -> dict[str, int]:
    """Import, check and import again; returns rows per table."""
    started = time.perf_counter()
    imported = shopkeeper("data", "import", name, "--from", folder, "--out", out, "--json")
    seconds = time.perf_counter() - started
    assert imported.code == 0, imported.stderr
    assert seconds < IMPORT_LIMIT_S
    checked = shopkeeper("data", "check", out, "--json")
    assert (checked.code, checked.json()["ok"]) == (0, True)
    assert checked.json()["tables"] == imported.json()["tables"]
    shop = Shop(out)
    checks = {"events": check_events, "images": check_images, "sales": check_sales}
    next(check for table, check in checks.items() if shop.has(table))(shop)
    fingerprint = Shop(out).fingerprint()
    assert shopkeeper("data", "import", name, "--from", folder, "--out", out, "--force").code == 0
    assert Shop(out).fingerprint() == fingerprint
    return dict(imported.json()["tables"])


def check_sales(shop: Shop) -> None:
    """Demand up to the reference date, covariates of one kind each."""
    panel = read_panel(shop)
    assert panel.frequency.moment(panel.end - 1) <= shop.info.reference_date
    assert set(panel.covariates) <= set(panel.schema.covariates)


def check_events(shop: Shop) -> None:
    """Positive events on known items, before the reference date; strictly increasing where times are synthetic."""
    events = shop.table("events").to_pandas()
    assert set(events["type"]) & set(shop.info.positive_types)
    assert (events["timestamp"] <= shop.info.reference_date).all()
    assert pc.all(pc.is_in(shop.table("events")["item_id"], value_set=shop.table("items")["item_id"].combine_chunks()))
    if shop.info.ordinal_time:
        steps = events.groupby("user_id")["timestamp"].diff().dropna()
        assert (steps.dt.total_seconds() > 0).all()


def check_images(shop: Shop) -> None:
    """Every picture is a file of the shop, in a split that the vision job knows, and says what it shows, or nothing."""
    for row in shop.table("images").to_pylist():
        assert (shop.path / row["path"]).is_file()
        assert row["split"] in ("train", "validation", "test")
        assert row["label"] or row["boxes"] is not None


def test_registry_and_tests_agree() -> None:
    assert set(DATASETS) == set(TINY) == {*REAL, *WITHOUT_REAL}
    assert all(name == adapter.name for name, adapter in DATASETS.items())


@pytest.mark.parametrize("name", DATASETS)
def test_tiny_folder(shopkeeper: Run, name: str, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    TINY[name](tmp_path / "from")
    check_dataset(shopkeeper, name, tmp_path / "from", tmp_path / "shop")


@pytest.mark.parametrize("name", [name for name in REAL if name not in LARGE])
def test_real_folder(shopkeeper: Run, name: str, real_data: Callable[[str], Path], tmp_path: Path) -> None:
    folder, counts = REAL[name]
    tables = check_dataset(shopkeeper, name, real_data(folder), tmp_path / "shop")
    assert counts.items() <= tables.items()


@pytest.mark.parametrize("name", DATASETS)
def test_empty_folder_is_refused(shopkeeper: Run, name: str, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    done = shopkeeper("data", "import", name, "--from", tmp_path / "from", "--out", tmp_path / "shop", "--json")
    assert done.code == 2
    assert done.json()["problems"][0]["found"] == "an empty folder"
    assert not (tmp_path / "shop").exists()
