"""Views of training pictures: varied at first, the pictures themselves in the last epochs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Generator

from training.jobs.augmentation import Augmentation
from training.jobs.vision_config import AugmentationConfig
from training.models.embedding_network import pixels_of


def test_the_last_epochs_of_many_pictures_with_one_view_are_plain() -> None:
    config = AugmentationConfig()
    assert config.within(40, views=1, pictures=50_000).plain_finish == pytest.approx(0.25)
    assert config.within(40, views=1, pictures=3_000).plain_finish == 0
    assert config.within(40, views=2, pictures=50_000).plain_finish == 0
    assert AugmentationConfig(plain_finish=0.1).within(40, views=1).plain_finish == pytest.approx(0.1)
    assert AugmentationConfig(plain_finish=0.1).within(40, views=2).plain_finish == 0, "two views would be one"


@pytest.mark.parametrize("flip", [False, True])
def test_plain_pictures_are_mirrored_at_most(flip: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 24, 3), dtype=np.uint8)
    x_BCHW, varied = pixels_of(pixels), AugmentationConfig(flip=flip).within(40)

    def changed(config: AugmentationConfig) -> tuple[torch.Tensor, torch.Tensor]:
        seen_BCHW = Augmentation(config)(x_BCHW, Generator().manual_seed(0))
        return tuple(  # type: ignore[return-value]
            (seen_BCHW - other_BCHW).abs().amax(dim=(1, 2, 3)) > 0.01 for other_BCHW in (x_BCHW, x_BCHW.flip(3))
        )

    assert all(one.all() for one in changed(varied))
    other_B, unmirrored_B = changed(varied.plain)
    assert torch.equal(other_B, ~unmirrored_B)
    assert bool(other_B.any()) == flip
