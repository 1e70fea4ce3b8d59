"""The benchmark of items that came after the training, on a small shop of discs."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.picture_shop import make_picture_shop
from training.jobs.job import LocalReport
from training.jobs.vision import JOB
from training.jobs.vision_config import VisionConfig
from training.models.visual_search import VisualSearch

BENCH = Path(__file__).parents[2] / "bench"
SMALL: dict[str, Any] = {"epochs": 3, "dim": 16, "prefixes": [8], "pictures_per_step": 16, "backbone": {"width": 8}}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    import vision_new_items

    found: ModuleType = vision_new_items
    return found


def test_new_items_are_put_once_the_others_were_asked_for(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "is_new", lambda item_id: item_id == "blue")
    shop = make_picture_shop(tmp_path / "shop", each=5, tests=3, items=True)
    rows = bench.without_new_items(shop.path)
    assert len(rows) == 8 * 4
    config = VisionConfig.model_validate(SMALL)
    result = JOB.fit(config, JOB.load(shop, config), LocalReport(tmp_path / "checkpoints"), tmp_path / "bundle")
    search = VisualSearch.load(result.folder)
    assert "blue" not in search.gallery.items()
    found = bench.measured(search, shop.path, rows)
    assert "blue" in search.gallery.items()
    assert found["trained_alone"] >= found["trained"] > 0
    assert found["new_finding_themselves"] == 1.0
    assert all(0 <= share <= 1 for share in found.values())
