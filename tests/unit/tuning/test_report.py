"""The page of a study, and what is said of its trials."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.study_progress import describe, remaining
from training.jobs.recommender import RecommenderConfig
from tuning.config import StudyConfig
from tuning.importance import importances
from tuning.report import write_report
from tuning.results import TrialOutcome, best_of, load, problems, save

STUDY = StudyConfig.model_validate({
    "job": "recommender",
    "trials": 12,
    "space": {
        "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
        "transformer.dim": {"choices": [32, 64]},
        "transformer.blocks": {"low": 1, "high": 3},
        "transformer.dropout": {"low": 0.0, "high": 0.5},
    },
})  # fmt: skip


def outcomes() -> list[TrialOutcome]:
    """The score is the dropout's; one trial failed, one never told anything."""
    rng = np.random.default_rng(0)
    drawn = [
        {
            "learning_rate": float(10 ** rng.uniform(-3, -1)), "transformer.dim": int(rng.choice([32, 64])),
            "transformer.blocks": int(rng.integers(1, 4)), "transformer.dropout": float(rng.uniform(0, 0.5)),
        }
        for _ in range(12)
    ]  # fmt: skip
    scored = [
        TrialOutcome(trial=place, values=values, status="finished", score=values["transformer.dropout"], epochs=3)
        for place, values in enumerate(drawn[:-2], 1)
    ]
    failed = TrialOutcome(trial=11, values=drawn[10], status="failed", problem="the loss is nan <at epoch 2>")
    return [*scored, failed, TrialOutcome(trial=12, values=drawn[11], status="stopped")]


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.rows = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.rows += tag == "tr"
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def write(path: Path, told: list[TrialOutcome], shares: dict[str, float]) -> Tags:
    config: dict[str, Any] = {"version": "v1", "ndcg@10": 0.05}
    write_report(
        path, title="study on shop", study=STUDY, metric="ndcg@10", outcomes=told, best_config="epochs: 3\n",
        importances=shares, published=config,
    )  # fmt: skip
    return Tags(path.read_text())


def test_the_page_needs_nothing_else_and_has_a_row_per_trial(tmp_path: Path) -> None:
    told = outcomes()
    tags = write(tmp_path / "report.html", told, importances(STUDY, RecommenderConfig, told))
    assert tags.links
    assert all(link.startswith("data:image/svg+xml;base64,") for link in tags.links)
    assert tags.rows == (1 + 2) + (1 + len(told))
    assert "1 x the loss is nan &lt;at epoch 2&gt;" in (tmp_path / "report.html").read_text()


def test_a_study_without_a_score_has_a_page_too(tmp_path: Path) -> None:
    failed = [outcome for outcome in outcomes() if outcome.score is None]
    assert write(tmp_path / "report.html", failed, {}).rows == (1 + 2) + (1 + 2)


def test_what_decides_the_score_is_the_most_important() -> None:
    shares = importances(STUDY, RecommenderConfig, outcomes())
    assert next(iter(shares)) == "transformer.dropout"
    assert sum(shares.values()) == pytest.approx(1.0)
    assert importances(STUDY, RecommenderConfig, outcomes()[:3]) == {}


def test_outcomes_are_kept_and_judged(tmp_path: Path) -> None:
    told = outcomes()
    assert load(tmp_path / "trials.json") == []
    save(told, tmp_path / "trials.json")
    assert load(tmp_path / "trials.json") == told
    best, worst = best_of(told, "max"), best_of(told, "min")
    assert best is not None
    assert worst is not None
    assert best.score == max(outcome.score or 0.0 for outcome in told)
    assert worst.score == min(outcome.score for outcome in told if outcome.score is not None)
    assert problems(told) == {"the loss is nan <at epoch 2>": 1}
    assert best_of(told[10:], "max") is None


def test_progress_says_count_best_and_time_left() -> None:
    told = outcomes()
    assert describe([], STUDY, "ndcg@10") == "trials 0/12"
    best = max(outcome.score or 0.0 for outcome in told)
    assert describe(told, STUDY, "ndcg@10") == f"trials 12/12, 1 failed, best ndcg@10 {best:.4f}"
    assert remaining(0, 12, 5.0) == ""
    assert remaining(3, 9, 30.0) == ", about 90 s left"
