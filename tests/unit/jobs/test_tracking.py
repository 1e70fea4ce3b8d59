"""MLFLOW_TRACKING_URI gets what the registry gets; without it nothing is imported."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from training.bundles.manifest import DataWindow, Manifest
from training.jobs.tracking import track

MANIFEST = Manifest(
    job="recommender", version="v1", model="popularity", shop_id="shop", created_at=datetime(2026, 1, 1, tzinfo=UTC),
    data=DataWindow(fingerprint="f", reference_date=datetime(2026, 1, 1, tzinfo=UTC)), catalogue_seq=0,
    code_revision="r", config={"seed": 0, "transformer": {"dim": 64}}, metrics={"ndcg@10": 0.1}, validation={},
    baselines={"popularity": {"ndcg@10": 0.05}}, train_seconds=1.0, cpu_seconds=1.0, files={}, libraries={},
)  # fmt: skip


def test_without_the_variable_mlflow_stays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    track(MANIFEST)


def test_a_run_is_logged_with_config_metrics_and_baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny is in the dev extra")
    track(MANIFEST)
    (run,) = mlflow.search_runs(experiment_names=["shop/recommender"], output_format="list")
    assert run.data.metrics == {"ndcg_at_10": 0.1, "popularity.ndcg_at_10": 0.05}
    assert run.data.params["transformer.dim"] == "64"
    assert run.data.tags["version"] == "v1"
