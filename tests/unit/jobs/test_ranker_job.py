"""The ranker job on a shop whose people click their own brand, with a served log and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.brand_shop import EVENTS, SMALL, USERS, Fitted, fitted, write_recommender, write_shop
from training.contracts.errors import ShopkeeperError
from training.features.ranking import BASE_FEATURES
from training.jobs.ranker import JOB, RankerConfig
from training.jobs.ranker_baselines import fit_baseline
from training.jobs.ranker_judging import judged, margins
from training.jobs.replays import outcomes
from training.jobs.slates import served_slates
from training.models.ranker import load_ranker


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fitted(tmp_path_factory.mktemp("logged"), log=True)


def test_labels_follow_the_funnel_and_the_slate(logged: Fitted) -> None:
    slates = served_slates(logged[1].shop, newest=10**6)
    assert len(slates) == USERS * EVENTS
    labels_NH = np.concatenate([slate.labels_CH for slate in slates])
    assert (labels_NH[:, 2] <= labels_NH[:, 1]).all()
    assert (labels_NH[:, 1] <= labels_NH[:, 0]).all()
    assert 0 < labels_NH[:, 2].sum() < labels_NH[:, 0].sum()


def test_slates_are_split_by_time(logged: Fitted) -> None:
    slates = logged[1].slates
    ends = [(min(s.as_of_us for s in part.slates), max(s.as_of_us for s in part.slates)) for part in slates.values()]
    assert ends[0][1] < ends[1][0]
    assert ends[1][1] < ends[2][0]


def test_the_better_ranker_is_bundled_with_its_upstream(logged: Fitted) -> None:
    _, data, result = logged
    assert result.upstream["recommender"]
    assert set(result.baselines) | {result.model} == {
        "din", "mean_pooling", "wide_and_deep", "logistic_regression",
    }  # fmt: skip
    assert result.metrics["auc"] > 0.8
    assert result.metrics["two_stage_ndcg@10"] > result.metrics["one_stage_ndcg@10"]
    scores = {**result.baselines, result.model: result.metrics}
    for other in scores.keys() - {"din"}:
        (said,) = (note for note in result.notes if note.startswith(f"din above {other} ") and " AUC " in note)
        assert float(said.split(" by ")[1].split()[0]) == pytest.approx(
            scores["din"]["auc"] - scores[other]["auc"], abs=1e-4
        )
    ranker = load_ranker(result.folder)
    probabilities = ranker.predict(data.slates["test"].inputs)
    assert all(((one >= 0) & (one <= 1)).all() for one in probabilities)


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


def test_a_loss_that_is_no_number_stops_with_the_step(tmp_path: Path) -> None:
    with pytest.raises(ShopkeeperError, match="step"):
        fitted(tmp_path, log=True, learning_rate=1e30, largest_loss=1.01)


def test_what_was_taken_together_is_no_negative(tmp_path: Path) -> None:
    """Half of the users end with two views of one moment, the others have them just before."""
    shop = write_shop(tmp_path / "shop", log=False, baskets=True)
    upstream = {"recommender": str(write_recommender(shop, tmp_path / "home"))}
    data = JOB.load(shop, RankerConfig.model_validate({**SMALL, "upstream": upstream}))
    together: dict[tuple[str, int], set[str]] = {}
    events = shop.table("events", ["user_id", "timestamp", "item_id"])
    moments_us = events["timestamp"].cast("int64").to_pylist()
    for user, moment_us, item_id in zip(
        events["user_id"].to_pylist(), moments_us, events["item_id"].to_pylist(), strict=True
    ):
        together.setdefault((user, moment_us), set()).add(item_id)
    for choices in (data.choices["validation"], data.test_choices, data.slates["test"]):
        assert len(choices)
        for slate in choices.slates:
            negatives = {
                item_id
                for item_id, labels in zip(slate.item_ids, slate.labels_CH, strict=True) if not labels.any()
            }  # fmt: skip
            assert negatives.isdisjoint(together[slate.user_id, slate.as_of_us])
    assert any(slate.labels_CH[:, 0].sum() > 1 for slate in data.test_choices.slates)


def test_attention_is_at_least_as_good_on_validation_as_the_network_it_is_trained_on(logged: Fitted) -> None:
    lines = logged[2].curve
    without = max(line["auc"] for line in lines if not line["kind"])
    assert [line["kind"] for line in lines] == sorted(line["kind"] for line in lines)
    assert {line["kind"] for line in lines} == {0, 1, 2}
    assert logged[2].validation["auc"] >= without - 1e-9


def test_nothing_trained_on_or_chosen_by_is_anybodys_last_choice(tmp_path: Path) -> None:
    _, data, _ = fitted(tmp_path, log=False, epochs=1)
    last = {(slate.user_id, slate.as_of_us) for slate in data.test_choices.slates}
    chosen_by = {(slate.user_id, slate.as_of_us) for slate in data.choices["validation"].slates}
    assert last
    assert chosen_by
    for part in (data.slates["train"], data.slates["validation"], data.choices["train"], data.choices["validation"]):
        assert last.isdisjoint((slate.user_id, slate.as_of_us) for slate in part.slates)
    assert chosen_by.isdisjoint((slate.user_id, slate.as_of_us) for slate in data.slates["train"].slates)


def test_no_slate_that_is_learnt_from_tells_of_a_choice_that_two_stages_are_judged_by(logged: Fitted) -> None:
    data = logged[1]
    judged_by = {(slate.user_id, slate.as_of_us) for slate in data.test_choices.slates}
    assert judged_by
    assert judged_by.isdisjoint(outcomes([*data.slates["train"].slates, *data.slates["validation"].slates]))
    held = {(slate.user_id, slate.as_of_us) for slate in data.choices["validation"].slates}
    assert held.isdisjoint(outcomes(data.slates["train"].slates))
    assert outcomes(data.slates["test"].slates) & judged_by


def test_probabilities_of_later_slates_are_calibrated(logged: Fitted) -> None:
    _, data, result = logged
    metrics = judged(load_ranker(result.folder), data.slates["test"], data.heads)
    assert metrics["ece"] < 0.05
    assert metrics["ece"] == pytest.approx(result.metrics["ece"], abs=1e-6)


def test_a_margin_over_oneself_is_none_and_over_chance_is_sure(logged: Fitted) -> None:
    _, data, result = logged
    ranker, (chance, _) = load_ranker(result.folder), fit_baseline(data)
    blank = {"weights": (0.0,) * len(BASE_FEATURES)}
    chance.by_head = {name: head.model_copy(update=blank) for name, head in chance.by_head.items()}
    same, same_by_user, above, above_by_user = margins(
        {"it": ranker, "itself": ranker, "chance": chance}, "it", data, seed=0
    )
    assert "+0.0000 AUC (95 % of users drawn: +0.0000 +0.0000)" in same
    assert "+0.0000 GAUC" in same_by_user
    for said in (above, above_by_user):
        low, high = (float(bound) for bound in said.rstrip(")").split()[-2:])
        assert 0.2 < low < high
