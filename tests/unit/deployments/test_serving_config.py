"""The serving config is strict: typos and contradictions are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.config import DeploymentsConfig, load_serving_config
from training.contracts.errors import InputError

SHIPPED = Path(__file__).parents[3] / "configs" / "deployments"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configs_fit_beside_a_training_worker(path: Path) -> None:
    config = load_serving_config(path, shop_id="shop", port=8001)
    deployments = [getattr(config.deployments, name) for name in DeploymentsConfig.model_fields]
    assert sum(own.num_cpus * own.min_replicas for own in deployments) <= 1
    assert path.read_text(encoding="utf-8").startswith("# shopkeeper ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("deployments: {retrieval: {num_replica: 2}}", "num_replica"),
        ("deployments: {retrieval: {min_replicas: 3, max_replicas: 2}}", "min_replicas"),
        ("deployments: {gateway: {max_replicas: 2}}", "gateway"),
        ("request: {candidates: '100'}", "candidates"),
        ("watch_period_s: 0", "watch_period_s"),
        ("- 1", "mapping"),
        ("a: [", "cannot be read"),
    ],
)
def test_wrong_configs_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "serving.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        load_serving_config(path)


def test_overrides_win() -> None:
    assert load_serving_config(SHIPPED / "small.yaml", port=8001).port == 8001
    with pytest.raises(InputError, match="prot"):
        load_serving_config(SHIPPED / "small.yaml", prot=8001)
