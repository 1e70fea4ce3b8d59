"""Runs and versions in MLflow too, where MLFLOW_TRACKING_URI says so."""

from __future__ import annotations

import os
from typing import Any

from training.bundles.manifest import Manifest
from training.contracts.errors import ShopkeeperError

URI_VARIABLE = "MLFLOW_TRACKING_URI"


def track(manifest: Manifest) -> None:
    """Log a published bundle as one MLflow run of the experiment `SHOP_ID/JOB`; does nothing without the variable."""
    if not os.environ.get(URI_VARIABLE):
        return
    try:
        import mlflow
    except ImportError as error:
        raise ShopkeeperError(
            f"{URI_VARIABLE} is set, but MLflow is absent: pip install 'shopkeeper[mlflow]'"
        ) from error
    mlflow.set_experiment(f"{manifest.shop_id}/{manifest.job}")
    with mlflow.start_run(run_name=manifest.version):
        mlflow.log_params(_flat(manifest.config))
        mlflow.log_metrics({_allowed(name): value for name, value in manifest.metrics.items()})
        mlflow.log_metrics({
            _allowed(f"{baseline}.{name}"): value
            for baseline, metrics in manifest.baselines.items()
            for name, value in metrics.items()
        })  # fmt: skip
        mlflow.set_tags({
            "version": manifest.version, "model": manifest.model, "code_revision": manifest.code_revision,
            "data_fingerprint": manifest.data.fingerprint,
        })  # fmt: skip


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _allowed(name: str) -> str:
    """MLflow refuses `@` in metric names."""
    return name.replace("@", "_at_")
