"""The forecaster on two workers of Ray Train, its classical members in Ray tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.commands import answer, command
from tests.demand_shop import write_shop

pytestmark = pytest.mark.ray
HORIZON = 4


def test_two_workers_train(tmp_path: Path, training_ray: Mapping[str, str]) -> None:
    shop = write_shop(tmp_path / "shop").path
    settings = (f"horizon={HORIZON}", "epochs=1", "rounds=30", "covariate_control=false")
    quick = [part for setting in settings for part in ("--set", setting)]
    wanted = ("train", "forecaster", "--data", shop, "--workers", 2, *quick)
    trained = answer(command(tmp_path, *wanted, joins=training_ray))
    assert trained["metrics"]["wape"] < 0.7 * trained["baselines"]["median_26"]["wape"]
    assert "<svg" not in Path(trained["report"]).read_text()
    assert "Forecast fans" in Path(trained["report"]).read_text()
