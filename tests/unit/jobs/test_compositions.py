"""Articles cut out of a plain background and put before others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.jobs.compositions import composed
from training.jobs.cutouts import opacity
from training.jobs.vision_config import AugmentationConfig
from training.models.embedding_network import pixels_of

SIDE = 48


def square(colour: tuple[int, int, int], *, background: int = 255) -> np.ndarray:
    """A ring of `colour` on a plain background."""
    picture = np.full((SIDE, SIDE, 3), background, np.uint8)
    picture[12:36, 14:34] = colour
    picture[20:28, 20:28] = background
    return picture


def test_an_article_is_cut_out_with_what_it_encloses() -> None:
    opacity_HW = opacity(square((200, 30, 30)))
    assert opacity_HW[24, 24] == pytest.approx(1.0, abs=1e-3)
    assert opacity_HW[15, 20] == pytest.approx(1.0, abs=1e-2)
    assert opacity_HW[2:8].max() == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("kind", ["wall and floor", "noise", "empty"])
def test_a_picture_without_a_plain_background_is_left_whole(kind: str) -> None:
    picture = square((200, 30, 30))
    if kind == "wall and floor":
        picture[30:] = 90
    elif kind == "noise":
        picture = np.random.default_rng(0).integers(0, 256, picture.shape, np.uint8)
    else:
        picture[:] = 240
    assert not opacity(picture).any()


def test_composed_views_show_the_article_elsewhere() -> None:
    squares = np.stack([square((250, 0, 0)), square((0, 250, 0)), square((0, 0, 250))] * 8)
    opacity_B1HW = torch.from_numpy(np.stack([opacity(one) for one in squares]))[:, None]
    scenes_BCHW = composed(pixels_of(squares), opacity_B1HW, torch.Generator().manual_seed(0))
    assert scenes_BCHW.shape == (24, 3, SIDE, SIDE)
    assert scenes_BCHW.abs().max() <= 2.0 + 1e-4
    middle_BC = scenes_BCHW[:, :, 16:32, 16:32].amax(dim=(2, 3))
    assert (middle_BC[torch.arange(24), torch.arange(24) % 3] > 1.0).float().mean() > 0.9
    corners_B = scenes_BCHW[:, :, 0, 0].std(dim=1)
    assert (corners_B > 0.1).float().mean() > 0.5, "the background is not the white one any more"
    again = composed(pixels_of(squares), opacity_B1HW, torch.Generator().manual_seed(0))
    assert torch.equal(scenes_BCHW, again)


def test_composition_is_for_pictures_that_are_seen_twice() -> None:
    config = AugmentationConfig()
    assert config.within(40, views=1).composed == 0
    assert config.within(40, views=1).flip
    assert config.within(40, views=2).composed == pytest.approx(0.75)
    assert not config.within(40, views=2).flip
    assert AugmentationConfig(flip=True, composed=0.1).within(40, views=2).composed == pytest.approx(0.1)
