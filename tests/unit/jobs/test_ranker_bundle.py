"""A ranker's bundle: what it scores does not depend on its company, and it is judged and read as it was trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.brand_shop import Fitted, fitted, published, write_shop
from training.contracts.errors import InputError
from training.features.ranking import RankingState
from training.features.short_term import RECENT_ITEMS
from training.jobs.batch import RECOMMENDATIONS, RankBatch, user_histories
from training.jobs.ranker import JOB, load
from training.jobs.ranker_baselines import fit_baseline
from training.jobs.ranker_judging import judged
from training.models.deep_ranker import Calibration, DeepRanker, settings_of
from training.models.ranker import load_ranker
from training.models.ranker_network import RankerNetwork


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fitted(tmp_path_factory.mktemp("logged"), log=True)


def test_a_score_depends_on_neither_batch_nor_other_candidates(
    logged: Fitted,
) -> None:
    _, data, result = logged
    ranker, inputs = load_ranker(result.folder), data.test_choices.inputs[:20]
    together = ranker.predict(inputs)
    for one, expected_CH in zip(inputs, together, strict=True):
        half = one._replace(features_CF=one.features_CF[::2], codes_CK=one.codes_CK[::2])
        assert np.abs(ranker.predict([half])[0] - expected_CH[::2]).max() < 1e-5


def test_a_bundle_is_judged_with_the_vocabularies_it_was_trained_with(
    logged: Fitted,
) -> None:
    config, data, _ = logged
    vocabularies = {**data.state.vocabularies, "brand": ["b0"]}
    fewer = RankingState.model_validate({**data.state.model_dump(), "vocabularies": vocabularies})
    again = load(data.shop, config, fewer)
    assert again.state.sizes()["brand"] == 2
    brands = {code for one in again.slates["test"].inputs for code in one.codes_CK[:, 3].tolist()}
    assert brands == {0, 1}


def test_a_bundle_is_evaluated_with_what_its_own_features_learnt(logged: Fitted, tmp_path: Path) -> None:
    config, data, result = logged
    bundle = published(result, "ranker", data.shop, config, tmp_path / "home")
    found = JOB.evaluate(bundle, data.shop)
    assert found["metrics"]["auc"] == pytest.approx(result.metrics["auc"], abs=1e-6)
    grown = JOB.evaluate(bundle, write_shop(tmp_path / "grown", log=True, more=9))
    assert grown["metrics"]["auc"] == pytest.approx(result.metrics["auc"], abs=0.02)


def test_batches_are_ranked_as_they_are_served(logged: Fitted, tmp_path: Path) -> None:
    config, data, result = logged
    bundle = published(result, "ranker", data.shop, config, tmp_path / "home")
    rows = RankBatch(str(bundle), 5, str(data.shop.path))(next(user_histories(data.shop)).slice(0, 3))
    assert rows.schema == RECOMMENDATIONS
    assert rows["rank"].to_pylist() == [1, 2, 3, 4, 5] * 3
    scores = rows["score"].to_numpy().reshape(3, 5)
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.fixture
def deep_bundle(logged: Fitted, tmp_path: Path) -> Path:
    """Of an untrained network, whatever won the training."""
    config, data, _ = logged
    network = RankerNetwork(data.state.sizes(), config.network, "din")
    DeepRanker(network, settings_of(network, {"choice": Calibration()})).save(tmp_path / "deep")
    data.state.save(tmp_path / "deep" / "ranking_state.json")
    return tmp_path / "deep"


def changed(bundle: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """What is said of a bundle whose settings were changed."""
    settings = json.loads((bundle / "ranker.json").read_text())
    change(settings)
    (bundle / "ranker.json").write_text(json.dumps(settings))
    with pytest.raises(InputError) as refused:
        load_ranker(bundle)
    return str(refused.value)


def test_another_vocabulary_or_other_columns_are_refused_with_the_difference(deep_bundle: Path) -> None:
    def change(settings: dict[str, Any]) -> None:
        settings["sizes"]["brand"] += 1
        settings["reads"]["context"][0] = "gone"

    assert load_ranker(deep_bundle).heads == ("choice",)
    said = changed(deep_bundle, change)
    assert "gone" in said
    assert "brand" in said


def test_a_bundle_of_another_version_is_refused_with_the_difference(deep_bundle: Path) -> None:
    said = changed(deep_bundle, lambda settings: (settings.pop("layout"), settings.pop("recent_items")))
    assert "layout: the bundle is of another version: train it again; found 1; allowed 2" in said
    assert "recent_items" in said
    assert f"allowed {RECENT_ITEMS}" in said


def test_a_bundled_logistic_regression_is_what_was_judged(logged: Fitted, tmp_path: Path) -> None:
    data = logged[1]
    ranker, _ = fit_baseline(data)
    ranker.save(tmp_path / "logistic")
    served = load_ranker(tmp_path / "logistic")
    expected = judged(ranker, data.slates["test"], data.heads)
    assert expected["auc"] == logged[2].baselines.get("logistic_regression", logged[2].metrics)["auc"]
    assert judged(served, data.slates["test"], data.heads) == expected
    inputs = data.test_choices.inputs[:5]
    other = [
        one._replace(features_CF=one.features_CF * np.r_[2, np.ones(one.features_CF.shape[1] - 1)]) for one in inputs
    ]
    for one, two in zip(served.predict(inputs), served.predict(other), strict=True):
        assert np.array_equal(one[:, 0], two[:, 0])
