"""The sample shop's tables: same seed same bytes, canonical, and in agreement with one another and with the truth."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from training.contracts.check import check_shop
from training.contracts.errors import InputError
from training.contracts.shop import Shop
from training.contracts.tables import TABLES
from training.datasets.sample import generate
from training.datasets.sample.events import RELEASE
from training.datasets.sample.spec import HISTORY_END, SIZES, SizeSpec, shop_id

TINY = SizeSpec(
    items=420,
    users=500,
    block_users=200,
    sales_weeks=56,
    pictured_items=12,
    shopper_views=2,
    utterances_per_intent=30,
    dialogues=12,
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    out = tmp_path_factory.mktemp("sample") / "shop"
    generate(out, size=TINY, seed=3, images=True)
    return Shop(out)


@pytest.fixture(scope="module")
def events(shop: Shop) -> pd.DataFrame:
    return shop.table("events").to_pandas()


def weeks(times: pd.Series) -> pd.Series:
    """The Monday of each time."""
    return times.dt.floor("D") - pd.to_timedelta(times.dt.day_of_week, unit="D")


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes_and_another_seed_another_shop(shop: Shop, tmp_path: Path) -> None:
    generate(tmp_path / "again", size=TINY, seed=3, images=True)
    assert digests(tmp_path / "again") == digests(shop.path)
    generate(tmp_path / "other", size=TINY, seed=4, images=False)
    other = digests(tmp_path / "other")
    assert all(other[f"{table}.parquet"] != digests(shop.path)[f"{table}.parquet"] for table in ("items", "events"))


def test_another_size_or_seed_is_another_shop(shop: Shop) -> None:
    assert shop.info.shop_id == "sample-custom-3"
    assert shop_id(SIZES["small"], 0) == "sample"
    assert shop_id(SIZES["small"], 7) == "sample-small-7"
    assert shop_id(SIZES["medium"], 0) == "sample-medium"


def test_every_table_is_there_and_passes_the_check(shop: Shop) -> None:
    assert shop.tables() == list(TABLES)
    report = check_shop(shop.path)
    assert [str(problem) for problem in report.problems] == []
    assert all(shop.table(name).num_rows == shop.rows(name) > 0 for name in TABLES)


def test_an_occupied_folder_is_refused_and_nothing_is_left_behind(shop: Shop) -> None:
    before = digests(shop.path)
    with pytest.raises(InputError, match="--force"):
        generate(shop.path, size=TINY, images=False)
    assert digests(shop.path) == before
    assert [path.name for path in shop.path.parent.iterdir()] == ["shop"]


def test_references_lead_somewhere(shop: Shop, events: pd.DataFrame) -> None:
    items = set(shop.table("items")["item_id"].to_pylist())
    users = set(shop.table("users")["user_id"].to_pylist())
    slates = set(shop.table("recommendations")["recommendation_id"].to_pylist())
    for table in ("sales", "placements", "inventory", "images", "reviews"):
        assert set(shop.table(table)["item_id"].to_pylist()) <= items, table
    assert set(events["item_id"].dropna()) <= items
    assert set(events["user_id"]) <= users
    assert set(events["recommendation_id"].dropna()) <= slates
    assert events["type"].nunique() == 10
    assert (events["timestamp"] < HISTORY_END).all()
    assert all((shop.path / path).is_file() for path in shop.table("images")["path"].to_pylist())


def test_events_of_a_user_are_in_order_and_views_do_not_repeat_at_once(events: pd.DataFrame) -> None:
    assert events.groupby("user_id")["timestamp"].is_monotonic_increasing.all()
    views = events[events["type"] == "view"]
    before = views.groupby("user_id")["item_id"].shift()
    assert (views["item_id"] != before).all()


def test_impressions_are_the_slates_and_clicks_name_their_place(shop: Shop, events: pd.DataFrame) -> None:
    log = shop.table("recommendations").to_pandas()
    assert set(log["release"]) == {RELEASE}
    rows = log[["recommendation_id", "user_id", "slate"]].explode("slate", ignore_index=True)
    shown = pd.concat([rows.drop(columns="slate"), pd.DataFrame(rows["slate"].tolist())], axis=1)
    key = ["recommendation_id", "user_id", "item_id", "position"]
    impressions = events[events["type"] == "impression"]
    assert len(impressions) == len(shown) == len(impressions[key].merge(shown[key]))
    clicks = events[(events["type"] == "view") & events["recommendation_id"].notna()]
    assert len(clicks) > 50
    assert len(clicks[key].merge(shown[key])) == len(clicks)
    assert shown["propensity"].between(0, 1, inclusive="neither").all()
    assert not shown.duplicated(["recommendation_id", "item_id"]).any()


def test_orders_are_the_purchases(shop: Shop, events: pd.DataFrame) -> None:
    orders = shop.table("orders").to_pandas().explode("lines", ignore_index=True)
    lines = pd.concat([orders[["user_id", "timestamp"]], pd.DataFrame(orders["lines"].tolist())], axis=1)
    bought = events[events["type"] == "purchase"].rename(columns={"value": "price"})
    key = ["user_id", "timestamp", "item_id", "quantity", "price"]
    assert len(lines) == len(bought) == len(lines[key].merge(bought[key]))


def test_sales_are_the_panels_purchases_and_everybody_elses(shop: Shop, events: pd.DataFrame) -> None:
    sales = shop.table("sales").to_pandas()
    bought = events[events["type"] == "purchase"]
    panel = bought.groupby(["item_id", weeks(bought["timestamp"])])["quantity"].sum().rename("panel").reset_index()
    joined = sales.merge(panel, how="outer", on=["item_id", "timestamp"], indicator=True)
    assert (joined["_merge"] != "right_only").all()
    truth = pq.read_table(shop.path / "truth/demand.parquet").to_pandas()
    joined = joined.merge(truth, on=["item_id", "timestamp"])
    observed = joined[joined["demand"].notna()]
    assert (observed["panel"].fillna(0) == observed["panel_units"]).all()
    assert (observed["demand"] == observed["population_units"] + observed["panel_units"]).all()
    assert (observed["population_units"] <= observed["wanted"]).all()
    paid = bought.assign(timestamp=weeks(bought["timestamp"])).merge(sales, on=["item_id", "timestamp"])
    assert np.allclose(paid["value"], paid["price"])


def test_what_is_out_of_stock_is_not_sold(shop: Shop) -> None:
    stock = shop.table("inventory").to_pandas()
    joined = stock.merge(shop.table("sales").to_pandas(), on=["item_id", "timestamp"])
    joined = joined[joined["demand"].notna()]
    assert (joined["demand"] <= joined["on_hand"]).all()
    out = joined[joined["on_hand"] == 0]
    assert len(out) > 20
    assert (out["demand"] == 0).all()
    latest = stock.sort_values("timestamp").groupby("item_id")["on_hand"].last()
    items = shop.table("items").to_pandas().set_index("item_id")
    assert (items["stock"] == latest.reindex(items.index)).all()


def test_the_future_is_known_where_covariates_say_so(shop: Shop) -> None:
    sales = shop.table("sales").to_pandas()
    future = sales[sales["timestamp"] >= HISTORY_END]
    covariates = yaml.safe_load((shop.path / "covariates.yaml").read_text())["covariates"]
    assert set(covariates) <= set(sales.columns)
    assert future["demand"].isna().all()
    assert sales.loc[sales["timestamp"] < HISTORY_END, "demand"].notna().all()
    for name, how in covariates.items():
        assert future[name].isna().all() == (how["kind"] == "past_only"), name
    promoted = future.loc[future["promotion"] > 0, ["item_id", "timestamp"]]
    assert len(promoted.merge(shop.table("placements").to_pandas())) == len(promoted) > 0


def test_reviews_say_what_the_stars_say(shop: Shop) -> None:
    reviews = shop.table("reviews").to_pandas()
    stars = reviews.groupby("sentiment")["rating"]
    assert stars.max()["negative"] < stars.min()["neutral"] <= stars.max()["neutral"] < stars.min()["positive"]
    happy = reviews["text"].str.contains("excellent|quick|beautiful|Worth")
    assert happy[reviews["sentiment"] == "positive"].all()
    assert not happy[reviews["sentiment"] == "negative"].any()


def test_service_tables_have_intents_emotions_splits_and_states(shop: Shop) -> None:
    utterances = shop.table("utterances").to_pandas()
    assert utterances["intent"].nunique() >= 13
    assert "out_of_scope" in set(utterances["intent"])
    assert utterances["emotion"].nunique() >= 4
    assert set(utterances["split"]) == {"train", "valid", "test"}
    assert not utterances["text"].duplicated().any()
    dialogues = shop.table("dialogues").to_pandas()
    assert all({"intent", "slots"} == set(json.loads(state)) for state in dialogues["state"])
    answered = {intent for intents in shop.table("articles")["intents"].to_pylist() for intent in intents}
    assert set(utterances["intent"]) - {"out_of_scope"} <= answered


def test_no_table_gives_the_truth_away(shop: Shop) -> None:
    hidden = {"need", "scenario", "taste", "price_sensitivity", "due", "recent", "wanted", "view_seed"}
    assert not hidden & {name for table in shop.tables() for name in shop.table(table).column_names}
    paths = [*shop.table("images")["path"].to_pylist(), *filter(None, shop.table("items")["image"].to_pylist())]
    assert {path.split("/")[0] for path in paths} == {"pictures"}
