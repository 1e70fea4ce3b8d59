"""A ranker's training that was interrupted ends as if it had not been."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.brand_shop import Fitted, fitted
from training.jobs.job import LocalReport
from training.jobs.ranker import JOB
from training.jobs.ranker_training import STATE_FILE


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fitted(tmp_path_factory.mktemp("logged"), log=True)


def test_a_finished_training_is_taken_up_from_its_checkpoint(tmp_path: Path) -> None:
    config, data, result = fitted(tmp_path, log=True, epochs=1)
    again = JOB.fit(config, data, LocalReport(tmp_path / "checkpoints"), tmp_path / "again")
    assert again.validation == result.validation


class Interrupted(LocalReport):
    """Ends the fit after some reports, as a killed process would."""

    def __init__(self, folder: Path, after: int) -> None:
        super().__init__(folder)
        self.after = after

    def __call__(self, metrics: Mapping[str, float], checkpoint: Path | None = None) -> Path | None:
        kept = super().__call__(metrics, checkpoint)
        if len(self.history) == self.after:
            raise InterruptedError
        return kept


@pytest.mark.parametrize("after", [1, 4])
def test_a_training_interrupted_within_a_network_goes_on_as_if_it_had_not_been(
    logged: Fitted, tmp_path: Path, after: int
) -> None:
    config, data, whole = logged
    with pytest.raises(InterruptedError):
        JOB.fit(config, data, Interrupted(tmp_path / "checkpoints", after), tmp_path / "none")
    (state,) = (tmp_path / "checkpoints").glob(f"*/{STATE_FILE}")
    course = json.loads(state.read_text(encoding="utf-8"))
    took = {name: course[name] + 1_000 for name in ("seconds", "cpu_seconds")}
    state.write_text(json.dumps({**course, **took}), encoding="utf-8")
    resumed = JOB.fit(config, data, LocalReport(tmp_path / "checkpoints"), tmp_path / "bundle")
    assert min(resumed.train_seconds, resumed.cpu_seconds) > 1_000
    assert resumed.curve == whole.curve
    assert resumed.validation == whole.validation
    assert resumed.baselines == whole.baselines
    ends = [line["auc"] for line in whole.curve]
    assert len(set(ends)) > len(ends) // 2


def test_patience_is_counted_on_after_an_interruption(logged: Fitted, tmp_path: Path) -> None:
    config, data, _ = logged
    config = config.model_copy(update={"learning_rate": 1e-9, "patience": 2, "average": 0.0})
    with pytest.raises(InterruptedError):
        JOB.fit(config, data, Interrupted(tmp_path / "checkpoints", 2), tmp_path / "none")
    resumed = JOB.fit(config, data, LocalReport(tmp_path / "checkpoints"), tmp_path / "bundle")
    whole = JOB.fit(config, data, LocalReport(tmp_path / "others"), tmp_path / "whole")
    assert [line["kind"] for line in resumed.curve] == [line["kind"] for line in whole.curve]
