"""The detector's stage on shops whose scenes are few, or cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, nn

from tests.picture_shop import make_picture_shop
from training.contracts.errors import InputError
from training.contracts.shop import Shop
from training.jobs.detector_stage import DetectorStage
from training.jobs.norm_statistics import settled
from training.jobs.vision_config import VisionConfig
from training.jobs.vision_data import load
from training.jobs.workers import Workers
from training.models.backbone import BackboneConfig, build_backbone

BACKBONE = BackboneConfig(width=8)


def stage(shop: Shop, *, composed: float) -> DetectorStage:
    config = VisionConfig.model_validate(
        {"backbone": BACKBONE, "dim": 16, "detector": {"side": 64, "channels": 8, "composed": composed}}
    )
    return DetectorStage(config, load(shop, config), build_backbone(BACKBONE, 64), BACKBONE, Workers())


def losses(stage: DetectorStage) -> list[float]:
    steps = stage.losses(1, Generator().manual_seed(0), np.random.default_rng(0))
    return [float(loss.detach()) for loss in steps]


@pytest.mark.parametrize("composed", [0.0, 0.5])
def test_scenes_that_cannot_be_read_are_replaced_or_refused(tmp_path: Path, composed: float) -> None:
    shop = make_picture_shop(tmp_path / "shop", boxes=True)
    photos = sorted((shop.path / "pictures").glob("train-*"))
    for photo in photos[::2]:
        photo.write_bytes(b"no picture")
    few = stage(shop, composed=composed)
    few.pictures_per_step, few.steps_per_epoch = 1, 24
    assert np.isfinite(losses(few)).all()
    for photo in photos:
        photo.write_bytes(b"no picture")
    with pytest.raises(InputError, match="hardly any photo with boxes can be read") as refused:
        losses(stage(shop, composed=composed))
    assert "pictures/train-" in str(refused.value)


def test_one_scene_settles_the_detector(tmp_path: Path) -> None:
    one = stage(make_picture_shop(tmp_path / "shop", each=2, boxes=True), composed=0.0)
    one.scenes.scenes = one.scenes.scenes[:1]
    one.settle()
    norms = [part for part in one.module.modules() if isinstance(part, nn.BatchNorm2d)]
    assert all(norm.running_mean is not None and norm.running_mean.abs().max() > 0 for norm in norms)


def test_statistics_stay_where_nothing_ran() -> None:
    ran, idle = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    both = nn.ModuleList([ran, idle])
    x_BCHW = 3 + torch.randn(4, 2, 8, 8, generator=Generator().manual_seed(0))
    both.train()
    for norm in (ran, idle):
        norm(x_BCHW)
    before = {name: buffer.clone() for name, buffer in idle.named_buffers()}
    with settled(both):
        ran(x_BCHW)
    assert ran.running_mean is not None
    assert torch.allclose(ran.running_mean, x_BCHW.mean(dim=(0, 2, 3)), atol=1e-5)
    assert all(torch.equal(buffer, before[name]) for name, buffer in idle.named_buffers())
    assert ran.momentum == idle.momentum == 0.1
