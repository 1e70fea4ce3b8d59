"""The true choice model: what it draws is what it says, and its effects can be found again in the data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from training.contracts.shop import Shop
from training.datasets.sample import generate, oracle_metrics
from training.datasets.sample.choice import ChoiceModel, State
from training.datasets.sample.spec import SLATE_SIZE, SizeSpec
from training.datasets.sample.truth import USERS, VIEWS, read_model, states

SPEC = SizeSpec(
    items=700, users=2_500, block_users=2_500, sales_weeks=56, pictured_items=0, utterances_per_intent=2, dialogues=1
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    out = tmp_path_factory.mktemp("choice") / "shop"
    generate(out, size=SPEC, seed=1, images=False)
    return Shop(out)


@pytest.fixture(scope="module")
def model(shop: Shop) -> ChoiceModel:
    return read_model(shop.path)


@pytest.fixture(scope="module")
def state(shop: Shop) -> State:
    return states(pq.read_table(shop.path / VIEWS), pq.read_table(shop.path / USERS))


def test_probabilities_are_probabilities(model: ChoiceModel, state: State) -> None:
    probability = model.distribution(state.take(slice(0, 200)))
    assert (probability >= 0).all()
    np.testing.assert_allclose(probability.sum(1), 1, atol=1e-9)
    last = state.recent_BR[:200, 0]
    known = np.flatnonzero(last >= 0)
    assert probability[known, last[known]].max() < 1e-12


@pytest.mark.parametrize("row", [0, 5])
def test_draws_follow_the_distribution(model: ChoiceModel, state: State, row: int) -> None:
    draws = 20_000
    due = np.flatnonzero(state.due_B >= 0)
    one = state.take(np.full(draws, due[row] if row else 3))
    item = model.draw(one, np.random.default_rng(row)).item_B
    expected = model.distribution(one.take(slice(0, 1)))[0]
    seen = np.bincount(item, minlength=len(expected)) / draws
    assert 0.5 * np.abs(seen - expected).sum() < 0.05
    top = np.argsort(-expected)[:5]
    np.testing.assert_allclose(seen[top], expected[top], atol=4 * np.sqrt(0.25 / draws))


def test_every_position_shows_an_item_as_often_as_its_propensity_says(model: ChoiceModel, state: State) -> None:
    leaf = np.full(40_000, 3)
    slates = model._draw_slates(leaf, np.random.default_rng(0))
    for position in (0, SLATE_SIZE - 1):
        seen = np.bincount(slates[:, position], minlength=SPEC.items) / len(leaf)
        np.testing.assert_allclose(seen, model.logging_LN[3], atol=0.006)


def test_views_are_likelier_under_the_truth_than_under_popularity(shop: Shop, model: ChoiceModel, state: State) -> None:
    item = pq.read_table(shop.path / VIEWS)["item"].to_numpy()
    rows = np.arange(0, len(state), 40)
    probability = model.distribution(state.take(rows))[np.arange(len(rows)), item[rows]]
    popularity = (np.bincount(item, minlength=SPEC.items) / len(item))[item[rows]]
    assert np.log(probability).mean() > np.log(popularity).mean() + 1


def test_position_bias_can_be_found_again(shop: Shop, model: ChoiceModel) -> None:
    events = shop.table("events").to_pandas()
    shown = events[events["type"] == "impression"]["position"].value_counts().sort_index()
    clicked = events[(events["type"] == "view") & events["position"].notna()]["position"].value_counts().sort_index()
    rate = (clicked / shown).to_numpy()
    attention = model.coefficients.attention_K
    np.testing.assert_allclose(rate / rate.sum(), attention, atol=0.05)


def test_price_sensitivity_can_be_found_again(shop: Shop) -> None:
    """Within a shelf, log views fall by about one for each unit of log price: the mean sensitivity is 1.06."""
    views = pq.read_table(shop.path / VIEWS)["item"].to_numpy()
    items = pq.read_table(shop.path / "truth/items.parquet").to_pandas()
    items = items[~items["new_N"]]
    count = np.bincount(views, minlength=SPEC.items)[items.index]
    frame = pd.DataFrame(
        {
            "shelf": items["leaf_N"] * 5 + items["style_N"],
            "price": np.log(items["price_N"]),
            "popularity": items["log_popularity_N"],
            "views": np.log(count + 1.0),
        }
    )
    within = frame - frame.groupby("shelf").transform("mean").assign(shelf=0)
    slope = np.linalg.lstsq(within[["price", "popularity"]], within["views"], rcond=None)[0]
    assert -1.6 < slope[0] < -0.5
    assert 0.3 < slope[1] < 1.3


def test_promotions_sell(shop: Shop) -> None:
    sales = shop.table("sales").to_pandas().dropna(subset=["demand"])
    mean = sales.groupby("item_id")["demand"].transform("mean")
    lift = (sales["demand"] / mean).groupby(sales["promotion"] > 0).mean()
    assert lift[True] > 1.3 * lift[False]


def test_consumables_are_bought_again(shop: Shop) -> None:
    events = shop.table("events").to_pandas()
    bought = events[events["type"] == "purchase"]
    items = pq.read_table(shop.path / "truth/items.parquet").to_pandas()
    consumable = bought["item_id"].isin(items.loc[items["refill_weeks_N"].notna(), "item_id"])
    again = bought.duplicated(["user_id", "item_id"])
    assert again[consumable].mean() > 3 * again[~consumable].mean()


def test_oracle_knows_more_than_popularity_and_is_reproducible(shop: Shop) -> None:
    first = oracle_metrics(shop.path, max_users=300, seed=2)
    assert first == oracle_metrics(shop.path, max_users=300, seed=2)
    assert first["users"] == 300
    assert 0.2 < first["ndcg@10"] < first["hr@10"] < 1
