"""Articles cut out of their plain background and seen anew: in another pose, before another background, in clutter.

Source: Dwibedi, Misra and Hebert, Cut, Paste and Learn, ICCV 2017.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from training.jobs.augmentation import moved, random_views, warped
from training.jobs.vision_config import AugmentationConfig

POSE = AugmentationConfig(flip=False, turn=35.0, zoom=0.35, shift=0.14, stretch=0.12)
AWAY, SHEAR = 1.15, 0.25
ELSEWHERE = AugmentationConfig(flip=True, turn=90.0, zoom=0.5, shift=0.4, stretch=0.2)
LEAST_CLUTTER, MOST_CLUTTER, RIM = 0.15, 0.5, 0.9
BEHIND, BEHIND_SHARE, BEFORE_SHARE = 3, 0.7, 0.25
FLAT_SHARE, BLOCK_SHARE, PHOTO_SHARE, HAZY_SHARE = 0.6, 0.3, 0.3, 0.25


def composed(x_BCHW: Tensor, opacity_B1HW: Tensor, chance: Generator) -> Tensor:
    """A view of each article among the others of the batch; all around 0, as `pixels_of` gives it.

    What lies behind is drawn at half the resolution: nobody focuses on it.
    """
    articles_B4HW = torch.cat([x_BCHW * opacity_B1HW, opacity_B1HW], dim=1)
    small_B4HW = functional.avg_pool2d(articles_B4HW, 2)
    behind_BCHW = _background(functional.avg_pool2d(x_BCHW, 2), chance)
    for _ in range(BEHIND):
        behind_BCHW = _pasted(behind_BCHW, _clutter(small_B4HW, BEHIND_SHARE, chance))
    before_B4HW = _clutter(small_B4HW, BEFORE_SHARE, chance)
    size = x_BCHW.shape[2:]
    scene_BCHW = _pasted(_resized(behind_BCHW, size), warped(articles_B4HW, _poses(len(x_BCHW), chance), "zeros"))
    return _hazy(_pasted(scene_BCHW, _resized(before_B4HW, size)), chance)


def _pasted(scene_BCHW: Tensor, layer_B4HW: Tensor) -> Tensor:
    """The layer's colours are already times its opacity."""
    return scene_BCHW * (1 - layer_B4HW[:, 3:]) + layer_B4HW[:, :3]


def _resized(x_BCHW: Tensor, size: torch.Size) -> Tensor:
    return functional.interpolate(x_BCHW, size=size, mode="bilinear", align_corners=False)


def _poses(count: int, chance: Generator) -> Tensor:
    """theta_B23: turned, further away, seen from the side."""
    theta_B23 = random_views(count, POSE, chance)
    slant_B22 = torch.eye(2).repeat(count, 1, 1)
    slant_B22[:, 0, 1] = SHEAR * (2 * torch.rand(count, generator=chance) - 1)
    return torch.cat([AWAY * theta_B23[:, :, :2] @ slant_B22, theta_B23[:, :, 2:]], dim=2)


def _background(x_BCHW: Tensor, chance: Generator) -> Tensor:
    """Two colours that meet softly or at a line, or part of another picture."""
    count, _, height, width = x_BCHW.shape
    near_BC11, far_BC11 = 4 * torch.rand(2, count, 3, 1, 1, generator=chance) - 2
    turn_B11 = 2 * math.pi * torch.rand(count, 1, 1, generator=chance)
    across_W, down_H1 = torch.linspace(-1, 1, width), torch.linspace(-1, 1, height)[:, None]
    steepness_B11 = torch.where(chosen(count, 0.5, chance)[:, None, None], 3.0, 200.0)
    place_BHW = across_W * turn_B11.cos() + down_H1 * turn_B11.sin() + 0.5 - torch.rand(count, 1, 1, generator=chance)
    share_B1HW = torch.sigmoid(place_BHW * steepness_B11)[:, None]
    plain_BCHW = torch.lerp(near_BC11, far_BC11, share_B1HW).to(x_BCHW)
    photos_BCHW = moved(_others(x_BCHW, chance), random_views(count, ELSEWHERE, chance))
    return torch.where(
        chosen(count, PHOTO_SHARE, chance)[:, None, None, None].to(x_BCHW.device), photos_BCHW, plain_BCHW
    )


def _clutter(articles_B4HW: Tensor, share: float, chance: Generator) -> Tensor:
    """layer_B4HW: another article, its outline in one colour, or a block, somewhere near the rim; at times nothing."""
    count, device = len(articles_B4HW), articles_B4HW.device
    others_B4HW = _others(articles_B4HW, chance)
    kind_B111 = torch.rand(count, 1, 1, 1, generator=chance)
    opacity_B1HW = torch.where((kind_B111 < BLOCK_SHARE).to(device), 1.0, others_B4HW[:, 3:])
    colour_BC11 = (4 * torch.rand(count, 3, 1, 1, generator=chance) - 2).to(articles_B4HW)
    flat_B4HW = torch.cat([colour_BC11 * opacity_B1HW, opacity_B1HW], dim=1)
    things_B4HW = torch.where((kind_B111 < FLAT_SHARE).to(device), flat_B4HW, others_B4HW)
    layer_B4HW = warped(things_B4HW, _near_the_rim(count, chance), "zeros")
    return layer_B4HW * chosen(count, share, chance)[:, None, None, None].to(layer_B4HW)


def _near_the_rim(count: int, chance: Generator) -> Tensor:
    theta_B23 = random_views(count, ELSEWHERE, chance)
    size_B11 = LEAST_CLUTTER + (MOST_CLUTTER - LEAST_CLUTTER) * torch.rand(count, 1, 1, generator=chance)
    smaller_B22 = theta_B23[:, :, :2] / size_B11
    turn_B = 2 * math.pi * torch.rand(count, generator=chance)
    centre_B21 = RIM * torch.stack([turn_B.cos(), turn_B.sin()], dim=1)[:, :, None]
    return torch.cat([smaller_B22, -smaller_B22 @ centre_B21], dim=2)


def _hazy(x_BCHW: Tensor, chance: Generator) -> Tensor:
    """Some of the pictures blurred."""
    blurred_BCHW = functional.avg_pool2d(functional.pad(x_BCHW, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return torch.where(
        chosen(len(x_BCHW), HAZY_SHARE, chance)[:, None, None, None].to(x_BCHW.device), blurred_BCHW, x_BCHW
    )


def _others(x_BCHW: Tensor, chance: Generator) -> Tensor:
    return x_BCHW[torch.randint(len(x_BCHW), (len(x_BCHW),), generator=chance).to(x_BCHW.device)]


def chosen(count: int, share: float, chance: Generator) -> Tensor:
    """chosen_B, each with the probability `share`."""
    return torch.rand(count, generator=chance) < share
