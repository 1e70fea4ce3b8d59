"""A search space is checked against the config of its job before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.serving_shop import make_shop
from training.jobs.recommender import RecommenderConfig
from tuning.config import Dimension, StudyConfig
from tuning.importance import distributions
from tuning.space import assigned, fields, findings, is_integer, value_at

Run = Callable[..., Any]
GOOD: dict[str, Any] = {"low": 0.1, "high": 0.5}


def study(space: dict[str, Any], **settings: Any) -> StudyConfig:
    return StudyConfig.model_validate({"job": "recommender", "space": space, **settings})


def test_settings_of_nested_configs_have_dotted_names() -> None:
    known = fields(RecommenderConfig)
    assert {"learning_rate", "transformer.dim"} <= known.keys()
    assert "transformer" not in known
    assert is_integer(RecommenderConfig, "transformer.dim")
    assert not is_integer(RecommenderConfig, "learning_rate")


@pytest.mark.parametrize(
    ("space", "settings", "place", "said"),
    [
        ({"transformer.dimm": GOOD}, {}, ("space", "transformer.dimm"), "did you mean transformer.dim"),
        ({"transformer": GOOD}, {}, ("space", "transformer"), "unknown field"),
        ({"transformer.dropout": {"low": 0.1, "high": 1.5}}, {}, ("space", "transformer.dropout", "high"), "found 1.5"),
        ({"patience": {"low": 0, "high": 9}}, {}, ("space", "patience", "low"), "greater than or equal to 1"),
        ({"patience": {"low": 1, "high": 9.5}}, {}, ("space", "patience", "high"), "found 9.5"),
        ({"patience": {"low": 1, "high": 9, "step": 0.5}}, {}, ("space", "patience", "step"), "whole numbers"),
        ({"content": {"choices": [True, "no idea"]}}, {}, ("space", "content", "choices", "1"), "found 'no idea'"),
        ({"content": {"low": 0, "high": 1}}, {}, ("space", "content"), "allowed choices"),
        ({"epochs": {"low": 1, "high": 9}}, {}, ("space", "epochs"), "max_epochs"),
        ({"transformer.dropout": GOOD}, {"base": {"epoch": 1}}, ("base", "epoch"), "did you mean epochs"),
        ({"transformer.dropout": GOOD}, {"job": "recomender"}, ("job",), "did you mean recommender"),
    ],
)
def test_what_does_not_fit_the_job_is_named(
    space: dict[str, Any], settings: dict[str, Any], place: tuple[str, ...], said: str
) -> None:
    ((found, problem),) = findings(study(space, **settings))
    assert tuple(map(str, found)) == place
    assert said in str(problem)


@pytest.mark.parametrize(
    "dimension",
    [
        {},
        {"low": 1},
        {"low": 2, "high": 1},
        {"low": 0, "high": 1, "log": True},
        {"low": 1, "high": 9, "log": True, "step": 2},
        {"choices": []},
        {"choices": [1], "low": 0, "high": 1},
        {"lwo": 0, "high": 1},
    ],
)
def test_a_dimension_is_a_range_or_choices(dimension: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Dimension.model_validate(dimension)


def test_a_trial_lasts_at_least_the_grace_period() -> None:
    with pytest.raises(ValidationError, match="grace_period 9 must not exceed max_epochs 3"):
        study({"transformer.dropout": GOOD}, grace_period=9, max_epochs=3)


@given(
    low=st.integers(1, 20),
    width=st.integers(1, 40),
    step=st.integers(1, 5),
    value=st.integers(-5, 80),
    log=st.booleans(),
)
def test_a_dimension_holds_what_optuna_draws(low: int, width: int, step: int, value: int, log: bool) -> None:
    high = low + width - width % step
    if high == low:
        high = low + step
    dimension = Dimension(low=low, high=high, step=None if log else step, log=log)
    drawn = distributions(study({"transformer.dim": dimension}), RecommenderConfig)["transformer.dim"]
    assert dimension.holds(value) == drawn._contains(value)


def test_dotted_values_are_put_into_a_copy() -> None:
    base = {"epochs": 3, "transformer": {"dim": 32, "heads": 1}}
    document = assigned(base, {"transformer.dim": 64, "learning_rate": 0.1})
    assert document == {"epochs": 3, "learning_rate": 0.1, "transformer": {"dim": 64, "heads": 1}}
    assert base == {"epochs": 3, "transformer": {"dim": 32, "heads": 1}}
    assert value_at(RecommenderConfig.model_validate(document), "transformer.dim") == 64


def test_validate_names_the_line_of_a_space(shopkeeper: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("job: recommender\nspace:\n  patience:\n    low: 0\n    high: 3\n")
    (problem,) = shopkeeper("validate", file, "--json").json()["problems"]
    assert (problem["line"], problem["field"]) == (4, "space.patience.low")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("job: ranker\nspace: {patience: {low: 1, high: 3}}\n", "is for another job"),
        ("job: recommender\nspace: {patence: {low: 1, high: 3}}\n", "did you mean patience"),
        ("job: recommender\nspace: {}\n", "at least 1 item"),
    ],
)
def test_tune_refuses_a_wrong_study_before_anything_runs(
    shopkeeper: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.setenv("SHOPKEEPER_HOME", str(tmp_path / "home"))
    (tmp_path / "study.yaml").write_text(text)
    done = shopkeeper("tune", "recommender", "--data", tmp_path, "--config", tmp_path / "study.yaml", "--json")
    assert done.code == 2
    assert said in done.stderr
    assert not (tmp_path / "home").exists()


def test_a_job_that_needs_a_champion_says_how_to_get_one(
    shopkeeper: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPKEEPER_HOME", str(tmp_path / "home"))
    make_shop(tmp_path / "shop")
    done = shopkeeper("tune", "ranker", "--data", tmp_path / "shop", "--json")
    assert done.code == 2
    assert done.json()["problems"][0]["allowed"] == "shopkeeper train recommender --data SHOP"
    assert not (tmp_path / "home").exists()
