"""A trial is the job's own fit, ended by its report; no Ray is needed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.brand_shop import SMALL, write_recommender, write_shop
from tests.serving_shop import make_shop
from training.contracts.errors import ShopkeeperError
from training.jobs.job import LocalReport
from training.jobs.registry import JOBS
from tuning.config import StudyConfig
from tuning.trial import TrialOverError, TrialReport, final_document, run_trial, trial_config

SPACE = {"transformer.dim": {"choices": [32, 64]}}
METRIC = "ndcg@10"


def study(**settings: Any) -> StudyConfig:
    return StudyConfig.model_validate({"job": "recommender", "space": SPACE, "grace_period": 1, **settings})


class Told:
    """What a trial told, its newest checkpoint kept as the fit's own report would."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[dict[str, Any]] = []
        self.kept = LocalReport(folder)

    def __call__(self, line: dict[str, Any], checkpoint: Path | None) -> None:
        self.lines.append(line)
        self.kept(line, checkpoint)


def run(report: TrialReport, values: list[float]) -> None:
    for epoch, value in enumerate(values, report.epoch + 1):
        report({"epoch": epoch, METRIC: value})


def test_a_trial_tells_the_best_so_far_and_ends_after_its_epochs(tmp_path: Path) -> None:
    told = Told(tmp_path)
    report = TrialReport(study(max_epochs=3), METRIC, told)
    with pytest.raises(TrialOverError):
        run(report, [0.2, 0.1, 0.3, 0.9])
    assert [line["score"] for line in told.lines] == [0.2, 0.2, 0.3]
    assert [line["finished"] for line in told.lines] == [False, False, True]


@pytest.mark.parametrize(("mode", "values"), [("max", [0.3, 0.2, 0.1]), ("min", [0.1, 0.2, 0.3])])
def test_a_trial_that_no_longer_gains_ends(tmp_path: Path, mode: str, values: list[float]) -> None:
    told = Told(tmp_path)
    with pytest.raises(TrialOverError):
        run(TrialReport(study(max_epochs=9, patience=2, mode=mode), METRIC, told), values)
    assert len(told.lines) == 3
    assert told.lines[-1]["score"] == values[0]


def test_a_metric_that_is_no_number_or_not_there_fails_the_trial(tmp_path: Path) -> None:
    with pytest.raises(ShopkeeperError, match="ndcg@10 is nan at epoch 1"):
        run(TrialReport(study(), METRIC, Told(tmp_path)), [math.nan])
    with pytest.raises(ShopkeeperError, match="reports no 'auc' of validation; it reports epoch, ndcg@10"):
        run(TrialReport(study(), "auc", Told(tmp_path)), [0.1])


def test_a_job_without_epochs_is_judged_by_its_final_validation(tmp_path: Path) -> None:
    told = Told(tmp_path)
    TrialReport(study(), METRIC, told).conclude({METRIC: 0.25})
    assert [(line["score"], line["finished"]) for line in told.lines] == [(0.25, True)]


def test_a_trial_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    shop, job = make_shop(tmp_path / "shop"), JOBS["recommender"]
    short, whole = study(max_epochs=2), study(max_epochs=4, patience=4)

    first = Told(tmp_path / "kept")
    run_trial(job, trial_config(short, job.config, {}), shop, TrialReport(short, METRIC, first), tmp_path / "bundle")
    assert [line["epoch"] for line in first.lines] == [1, 2]

    resumed = Told(tmp_path / "kept")
    report = TrialReport(whole, METRIC, resumed, resumed.kept.resume_from)
    run_trial(job, trial_config(whole, job.config, {}), shop, report, tmp_path / "bundle")
    assert [line["epoch"] for line in resumed.lines] == [3, 4]
    assert resumed.lines[-1]["score"] >= first.lines[-1]["score"]
    assert not (tmp_path / "bundle").exists()

    again = Told(tmp_path / "kept")
    report = TrialReport(whole, METRIC, again, again.kept.resume_from)
    run_trial(job, trial_config(whole, job.config, {}), shop, report, tmp_path / "bundle")
    assert [(line["epoch"], line["finished"]) for line in again.lines] == [(4, True)]


def test_a_rankers_trial_comes_to_attention_and_its_settings_count(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop", log=True)
    base = {**SMALL, "upstream": {"recommender": str(write_recommender(shop, tmp_path / "home"))}}
    given = study(job="ranker", space={"network.attention": {"choices": [2, 16]}}, max_epochs=2, base=base)
    told = {}
    for units in (2, 16):
        told[units] = Told(tmp_path / f"kept-{units}")
        config = trial_config(given, JOBS["ranker"].config, {"network.attention": units})
        run_trial(JOBS["ranker"], config, shop, TrialReport(given, "auc", told[units]), tmp_path / "bundle")
        assert [line["epoch"] for line in told[units].lines] == [0, 0, 0, 0, 1, 2]
        assert told[units].lines[-1]["finished"]
    below, above = ([line["score"] for line in one.lines] for one in told.values())
    assert below[:2] == above[:2]
    assert below[4:] != above[4:]


def test_the_best_is_trained_as_its_base_says_and_a_trial_as_the_study_says() -> None:
    given = study(max_epochs=5, seed=7, base={"epochs": 50, "patience": 6, "transformer": {"heads": 1}})
    document = final_document(given, {"transformer.dim": 32})
    assert document == {"seed": 7, "epochs": 50, "patience": 6, "transformer": {"heads": 1, "dim": 32}}
    config = trial_config(given, JOBS["recommender"].config, {"transformer.dim": 32})
    assert config.model_dump(include={"epochs", "patience", "seed"}) == {"epochs": 5, "patience": 5, "seed": 7}
