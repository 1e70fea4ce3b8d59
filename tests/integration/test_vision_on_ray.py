"""The vision job on Ray Train: two workers train one embedding and detector, Ray Data finds every image's nearest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.commands import answer, command
from tests.picture_shop import COLOURS, make_picture_shop
from training.contracts.progress import NoProgress
from training.contracts.shop import Shop
from training.jobs.gallery_embedding import embedded_by
from training.jobs.vision_bundle import shop_pictures
from training.jobs.vision_config import VisionConfig
from training.jobs.vision_data import load
from training.jobs.vision_judging import embedded
from training.models.image_baselines import RawPixels

pytestmark = pytest.mark.ray

SET = ("epochs=2", "dim=16", "prefixes=[8]", "pictures_per_step=8", "backbone.width=8", "side=16",
       "learning_rate=0.01", "detector.side=64", "detector.channels=8", "detector.epochs=1")  # fmt: skip
SETTINGS = [word for one in SET for word in ("--set", one)]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    made = make_picture_shop(tmp_path / "shop", each=8, tests=2, side=64, boxes=True)
    (made.path / "pictures" / "test-red-0.png").write_bytes(b"broken")
    (made.path / "pictures" / "train-red-0.png").write_bytes(b"broken")
    return made.path


def test_two_workers_train_and_ray_data_predicts(tmp_path: Path, shop: Path, training_ray: Mapping[str, str]) -> None:
    wanted = ("train", "vision", "--data", shop, "--workers", 2, *SETTINGS)
    trained = answer(command(tmp_path, *wanted, joins=training_ray))
    assert {"recall@1", "map@10", "recall_iou50"} <= trained["metrics"].keys()
    assert any("train-red-0" in note for note in trained["notes"])
    out = tmp_path / "nearest.parquet"
    wanted = ("predict", "vision", "--data", shop, "--out", out, "--limit", 2)
    answer(command(tmp_path, *wanted, joins=training_ray))
    rows = pq.read_table(out).to_pylist()
    assert len({row["image_id"] for row in rows}) == len(COLOURS) * 10
    assert {row["image_id"] for row in rows if row["problem"]} == {"test-red-0", "train-red-0"}


def test_ray_data_embeds_the_catalogue_as_one_process_does(own_ray: None, shop: Path) -> None:
    from training.jobs.ray_train import RayReport

    data = load(Shop(shop), VisionConfig(side=16))
    here, there = (shop_pictures(data, cache_bytes=1 << 20)["gallery"] for _ in range(2))
    one, other = embedded(RawPixels(16), here), embedded_by(RayReport.mapped, RawPixels(16), there, NoProgress())
    assert [shot.image_id for shot in one.shots] == [shot.image_id for shot in other.shots]
    np.testing.assert_array_equal(one.vectors_ND, other.vectors_ND)
    assert here.problems() == there.problems() != []
