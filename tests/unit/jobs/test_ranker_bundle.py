"""A ranker's bundle: what it scores does not depend on its company, and it is judged and read as it was trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.brand_shop import Fitted, fitted, published, write_shop
from training.contracts.errors import InputError
from training.features.ranking import RankingState
from training.jobs.batch import RECOMMENDATIONS, RankBatch, user_histories
from training.jobs.ranker import JOB, load
from training.models.ranker import load_ranker


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


def test_another_vocabulary_or_other_columns_are_refused_with_the_difference(logged: Fitted, tmp_path: Path) -> None:
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
