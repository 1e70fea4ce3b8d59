"""A study on Ray Tune goes on after it was killed; its best is published as candidate, and not promoted."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from cluster.job_config import load_config
from tests.commands import answer, command, kill
from tests.serving_shop import SHOP_ID, make_shop, wait_until
from training.bundles.registry import Registry
from training.bundles.store import BundleStore
from training.jobs.recommender import RecommenderConfig
from tuning.results import TrialOutcome, load

pytestmark = pytest.mark.ray

TRIALS = 3
STUDY = {
    "job": "recommender",
    "trials": TRIALS,
    "parallel": 1,
    "max_epochs": 8,
    "grace_period": 8,
    "patience": 8,
    "base": {"epochs": 3, "transformer": {"dim": 32}},
    "space": {
        "learning_rate": {"low": 0.0005, "high": 0.02, "log": True},
        "transformer.dropout": {"low": 0.0, "high": 0.5},
    },
}


def test_a_killed_study_goes_on_and_its_best_becomes_candidate(tmp_path: Path, training_ray: Mapping[str, str]) -> None:
    make_shop(tmp_path / "shop")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))

    first = tune(tmp_path)
    wait_until(lambda: first.poll() is not None or any(trial.over for trial in trials(tmp_path)), timeout_s=120)
    assert first.poll() is None, first.communicate()[1]
    kill(first)
    before = [trial for trial in trials(tmp_path) if trial.over]
    assert 0 < len(before) < TRIALS

    told = answer(tune(tmp_path, joins=training_ray))
    assert [trial["status"] for trial in told["trials"]] == ["finished"] * TRIALS
    assert told["trials"][: len(before)] == [trial.model_dump(mode="json") for trial in before]
    best = told["best"]
    assert best["score"] == max(trial["score"] for trial in told["trials"])
    assert best["config"]["learning_rate"] == best["values"]["learning_rate"]
    assert Path(told["report"]).read_text().startswith("<!doctype html>")
    trained = load_config(RecommenderConfig, file=Path(told["config_file"]), settings=[], seed=None)
    assert trained.model_dump(mode="json") == best["config"]

    registry = Registry(tmp_path / "home" / "releases", SHOP_ID)
    candidate = registry.get("candidate")
    assert candidate is not None
    assert candidate.jobs == {"recommender": best["version"]}
    assert registry.get("champion") is None
    manifest = BundleStore(tmp_path / "home" / "bundles").manifest(SHOP_ID, "recommender", best["version"])
    assert any(told["study"] in note for note in manifest.notes)

    assert answer(tune(tmp_path, joins=training_ray)) == told


def tune(folder: Path, *, joins: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    wanted = ("tune", "recommender", "--data", folder / "shop", "--config", folder / "study.yaml")
    return command(folder / "home", *wanted, joins=joins)


def trials(folder: Path) -> list[TrialOutcome]:
    """What the only study says of its trials now."""
    return [trial for file in (folder / "home" / "studies").glob("*/*/*/trials.json") for trial in load(file)]
