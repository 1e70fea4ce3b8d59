"""The ranker job on a shop whose people click their own brand, with a served log and without."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from training.bundles.registry import Registry
from training.bundles.store import BundleStore
from training.contracts.errors import InputError, ShopkeeperError
from training.contracts.shop import Shop, ShopInfo, new_shop
from training.features.ranking import RankingState
from training.features.sequences import interest_histories, leave_one_out
from training.features.vocabulary import Vocabulary
from training.jobs.batch import RECOMMENDATIONS, RankBatch, user_histories
from training.jobs.job import FitResult, LocalReport
from training.jobs.publish import publish
from training.jobs.ranker import JOB, RankerConfig, load
from training.jobs.ranker_calibration import calibrated, keeps_retrievals_order
from training.jobs.ranker_data import RankerData
from training.jobs.ranker_judging import two_stages
from training.jobs.slates import served_slates
from training.models.popularity import Popularity, training_counts
from training.models.ranker import load_ranker
from training.models.ranker_network import RankerNetwork
from training.models.recommender import Recommender

BRANDS, ITEMS_EACH, USERS, EVENTS = 6, 5, 120, 8
START = datetime(2026, 1, 1, tzinfo=UTC)
SMALL = {"epochs": 3, "negatives": 8, "choices": 400, "learning_rate": 0.01}


def write_shop(path: Path, *, log: bool, ordinal: bool = False) -> Shop:
    """Users view their brand; of each slate they click what is of it, and buy half of that."""
    rng = np.random.default_rng(0)
    items = [
        {"item_id": f"i{n:02d}", "brand": f"b{n % BRANDS}", "category": ["all"]} for n in range(BRANDS * ITEMS_EACH)
    ]
    events, answers = [], []
    for user in range(USERS):
        for step in range(EVENTS):
            when = START + timedelta(hours=0 if ordinal else int(rng.integers(20)), days=step)
            common = {"user_id": f"u{user:03d}", "timestamp": when, "context": {"device": "mobile"}}
            slate = rng.permutation(BRANDS * ITEMS_EACH)[:6].tolist()
            own = [item for item in slate if item % BRANDS == user % BRANDS]
            name = f"r{user}-{step}"
            if log:
                entries = [
                    {"item_id": f"i{item:02d}", "position": place, "score": 0.0, "propensity": 1.0}
                    for place, item in enumerate(slate)
                ]
                answers.append({
                    "recommendation_id": name, "user_id": common["user_id"], "as_of": when - timedelta(seconds=9),
                    "slate": entries,
                })  # fmt: skip
            kinds = ["view", "purchase"] if rng.random() < 0.5 else ["view"]
            item = own[0] if own and log else int(rng.integers(ITEMS_EACH)) * BRANDS + user % BRANDS
            for kind in kinds:
                events.append({
                    **common, "event_id": f"{name}{kind}", "type": kind, "item_id": f"i{item:02d}",
                    "recommendation_id": name if own and log else None,
                })  # fmt: skip
    info = ShopInfo(
        shop_id="brands", reference_date=START + timedelta(days=30), positive_types=("view",), ordinal_time=ordinal,
    )  # fmt: skip
    with new_shop(path, info) as writer:
        writer.write("items", pa.Table.from_pylist(items))
        writer.write("events", pa.Table.from_pylist(events).drop_columns(["context"]))
        if answers:
            writer.write("recommendations", pa.Table.from_pylist(answers))
    return Shop(path)


def write_recommender(shop: Shop, home: Path) -> Path:
    items = shop.table("items").to_pylist()
    vocabulary = Vocabulary([item["item_id"] for item in items])
    histories = interest_histories(shop.table("events"), vocabulary, shop.info.positive_types)
    counts_I = training_counts(leave_one_out(histories).train, len(vocabulary))
    Recommender.build(vocabulary, Popularity(counts_I), counts_I, items).save(home / "files")
    result = FitResult(
        folder=home / "files", model="popularity", metrics={}, validation={}, baselines={}, train_seconds=0.0,
        cpu_seconds=0.0, examples_per_second=0.0,
    )  # fmt: skip
    store, registry = BundleStore(home / "bundles"), Registry(home / "releases", shop.info.shop_id)
    manifest = publish(
        result, job="recommender", shop=shop, config=RankerConfig(), store=store, registry=registry
    )  # fmt: skip
    return store.fetch(shop.info.shop_id, "recommender", manifest.version)


def fitted(
    folder: Path, *, log: bool, ordinal: bool = False, **changes: object
) -> tuple[RankerConfig, RankerData, FitResult]:
    shop = write_shop(folder / "shop", log=log, ordinal=ordinal)
    upstream = {"recommender": str(write_recommender(shop, folder / "home"))}
    config = RankerConfig.model_validate({**SMALL, **changes, "upstream": upstream})
    data = JOB.load(shop, config)
    return config, data, JOB.fit(config, data, LocalReport(folder / "checkpoints"), folder / "bundle")


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[RankerConfig, RankerData, FitResult]:
    return fitted(tmp_path_factory.mktemp("logged"), log=True)


def test_labels_follow_the_funnel_and_the_slate(logged: tuple[RankerConfig, RankerData, FitResult]) -> None:
    slates = served_slates(logged[1].shop, newest=10**6)
    assert len(slates) == USERS * EVENTS
    labels_NH = np.concatenate([slate.labels_CH for slate in slates])
    assert (labels_NH[:, 2] <= labels_NH[:, 1]).all()
    assert (labels_NH[:, 1] <= labels_NH[:, 0]).all()
    assert 0 < labels_NH[:, 2].sum() < labels_NH[:, 0].sum()


def test_slates_are_split_by_time(logged: tuple[RankerConfig, RankerData, FitResult]) -> None:
    slates = logged[1].slates
    ends = [(min(s.as_of_us for s in part.slates), max(s.as_of_us for s in part.slates)) for part in slates.values()]
    assert ends[0][1] < ends[1][0]
    assert ends[1][1] < ends[2][0]


def test_the_better_ranker_is_bundled_with_its_upstream(logged: tuple[RankerConfig, RankerData, FitResult]) -> None:
    _, data, result = logged
    assert result.upstream["recommender"]
    assert set(result.baselines) | {result.model} == {"din", "wide_and_deep", "logistic_regression"}
    assert result.metrics["auc"] > 0.8
    assert result.metrics["two_stage_ndcg@10"] > result.metrics["one_stage_ndcg@10"]
    assert any("bootstrap" in note or "95 %" in note for note in result.notes)
    ranker = load_ranker(result.folder)
    probabilities = ranker.predict(data.slates["test"].inputs)
    assert all(((one >= 0) & (one <= 1)).all() for one in probabilities)


def test_a_score_depends_on_neither_batch_nor_other_candidates(
    logged: tuple[RankerConfig, RankerData, FitResult],
) -> None:
    _, data, result = logged
    ranker, inputs = load_ranker(result.folder), data.test_choices.inputs[:20]
    together = ranker.predict(inputs)
    for one, expected_CH in zip(inputs, together, strict=True):
        half = one._replace(features_CF=one.features_CF[::2], codes_CK=one.codes_CK[::2])
        assert np.abs(ranker.predict([half])[0] - expected_CH[::2]).max() < 1e-5


def test_a_shop_without_a_log_learns_from_what_was_chosen(tmp_path: Path) -> None:
    _, data, result = fitted(tmp_path, log=False)
    assert data.heads == ("click",)
    assert any("no served log" in note for note in result.notes)
    assert result.metrics["auc"] > 0.8


def test_where_times_are_only_an_order_each_users_last_choice_is_test(tmp_path: Path) -> None:
    _, data, result = fitted(tmp_path, log=False, ordinal=True, epochs=1)
    assert any("only an order" in note for note in result.notes)
    newest_us = max(slate.as_of_us for slate in data.slates["test"].slates)
    assert {slate.as_of_us for slate in data.slates["test"].slates} == {newest_us}
    users = [slate.user_id for slate in data.slates["test"].slates]
    assert len(users) == len(set(users))
    for part in ("train", "validation"):
        assert all(slate.as_of_us < newest_us for slate in data.slates[part].slates)
    assert not {(slate.user_id, slate.as_of_us) for slate in data.slates["train"].slates} & {
        (slate.user_id, slate.as_of_us) for slate in data.slates["validation"].slates
    }


def test_a_network_that_gains_nothing_leaves_retrievals_order(
    logged: tuple[RankerConfig, RankerData, FitResult],
) -> None:
    _, data, _ = logged
    config = RankerConfig()
    torch.manual_seed(0)
    network = RankerNetwork(data.state.sizes(), config.network, "din")  # reads nothing: its inputs have no scale yet
    with torch.no_grad():
        for weights in network.parameters():
            weights.zero_()
    ranker = calibrated(network, "din", config.network, data)
    assert keeps_retrievals_order(ranker)
    inputs = data.test_choices.inputs
    for one, found_CH in zip(inputs, ranker.predict(inputs), strict=True):
        assert len(np.unique(ranker.order(found_CH))) == len(np.unique(one.features_CF[:, 0]))
    metrics = two_stages(ranker, data)
    assert metrics["two_stage_ndcg@10"] == pytest.approx(metrics["one_stage_ndcg@10"])


def test_a_bundle_is_judged_with_the_vocabularies_it_was_trained_with(
    logged: tuple[RankerConfig, RankerData, FitResult],
) -> None:
    config, data, _ = logged
    vocabularies = {**data.state.vocabularies, "brand": ["b0"]}
    fewer = RankingState.model_validate({**data.state.model_dump(), "vocabularies": vocabularies})
    again = load(data.shop, config, fewer)
    assert again.state.sizes()["brand"] == 2
    brands = {code for one in again.slates["test"].inputs for code in one.codes_CK[:, 3].tolist()}
    assert brands == {0, 1}


def test_batches_are_ranked_as_they_are_served(
    logged: tuple[RankerConfig, RankerData, FitResult], tmp_path: Path
) -> None:
    config, data, result = logged
    store, registry = BundleStore(tmp_path / "bundles"), Registry(tmp_path / "releases", data.shop.info.shop_id)
    manifest = publish(result, job="ranker", shop=data.shop, config=config, store=store, registry=registry)
    bundle = store.fetch(data.shop.info.shop_id, "ranker", manifest.version)
    rows = RankBatch(str(bundle), 5, str(data.shop.path))(next(user_histories(data.shop)).slice(0, 3))
    assert rows.schema == RECOMMENDATIONS
    assert rows["rank"].to_pylist() == [1, 2, 3, 4, 5] * 3
    scores = rows["score"].to_numpy().reshape(3, 5)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_another_vocabulary_or_other_columns_are_refused_with_the_difference(
    logged: tuple[RankerConfig, RankerData, FitResult], tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for file in logged[2].folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    settings = json.loads((folder / "ranker.json").read_text())
    if "sizes" not in settings:
        pytest.skip("the logistic regression was the best")
    settings["sizes"]["brand"] += 1
    settings["reads"]["context"][0] = "gone"
    (folder / "ranker.json").write_text(json.dumps(settings))
    with pytest.raises(InputError) as refused:
        load_ranker(folder)
    assert "gone" in str(refused.value)
    assert "brand" in str(refused.value)


def test_a_loss_that_is_no_number_stops_with_the_step(tmp_path: Path) -> None:
    with pytest.raises(ShopkeeperError, match="step"):
        fitted(tmp_path, log=True, learning_rate=1e30, largest_loss=1.01)


def test_a_finished_training_is_taken_up_from_its_checkpoint(tmp_path: Path) -> None:
    config, data, result = fitted(tmp_path, log=True, epochs=1)
    again = JOB.fit(config, data, LocalReport(tmp_path / "checkpoints"), tmp_path / "again")
    assert again.validation == result.validation
