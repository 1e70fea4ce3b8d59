"""The forecaster on two workers of Ray Train, its classical members in Ray tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.demand_shop import write_shop
from tests.integration.test_train_on_ray import answer, command

pytestmark = pytest.mark.ray
HORIZON = 4


def test_two_workers_train(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop").path
    settings = (f"horizon={HORIZON}", "epochs=1", "rounds=30", "covariate_control=false")
    quick = [part for setting in settings for part in ("--set", setting)]
    trained = answer(command(tmp_path, "train", "forecaster", "--data", shop, "--workers", 2, *quick))
    assert trained["metrics"]["wape"] < 0.7 * trained["baselines"]["median_26"]["wape"]
    assert "<svg" not in Path(trained["report"]).read_text()
    assert "Forecast fans" in Path(trained["report"]).read_text()
