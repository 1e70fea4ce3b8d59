"""Random views of training pictures, a whole batch at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional

from training.jobs.vision_config import AugmentationConfig

IN_SIGHT = 0.4


class Augmentation:
    """x_BCHW around 0, as `pixels_of` gives it, seen from elsewhere in another light."""

    def __init__(self, config: AugmentationConfig) -> None:
        self.config = config

    def __call__(self, x_BCHW: Tensor, chance: Generator) -> Tensor:
        return self.lit(moved(x_BCHW, random_views(len(x_BCHW), self.config, chance)), chance)

    def lit(self, x_BCHW: Tensor, chance: Generator) -> Tensor:
        """From where it is seen, in another light and partly hidden."""
        return self._hidden(self._lit(x_BCHW, chance), chance).contiguous(memory_format=torch.channels_last)

    def _lit(self, x_BCHW: Tensor, chance: Generator) -> Tensor:
        count, config = len(x_BCHW), self.config
        contrast_B1 = 1 + config.light * _even(count, chance)[:, None]
        tint_BC = 1 + config.tint * (2 * torch.rand(count, 3, generator=chance) - 1)
        light_B1 = 2 * config.light * _even(count, chance)[:, None]
        gain_BC = (contrast_B1 * tint_BC).to(x_BCHW)[:, :, None, None]
        return x_BCHW * gain_BC + light_B1.to(x_BCHW)[:, :, None, None]

    def _hidden(self, x_BCHW: Tensor, chance: Generator) -> Tensor:
        """A grey rectangle over half of the pictures."""
        count, (height, width) = len(x_BCHW), x_BCHW.shape[2:]
        shown_B = torch.rand(count, generator=chance) < 0.5
        covers = [self._span(count, length, chance).masked_fill(shown_B[:, None], False) for length in (height, width)]
        hidden_BHW = (covers[0][:, :, None] & covers[1][:, None, :]).to(x_BCHW.device)
        return x_BCHW.masked_fill(hidden_BHW[:, None], 0.0)

    def _span(self, count: int, length: int, chance: Generator) -> Tensor:
        """covered_BL: a stretch of random place and length in each row."""
        half_B1 = 0.5 * length * self.config.cutout * torch.rand(count, 1, generator=chance)
        centre_B1 = length * torch.rand(count, 1, generator=chance)
        return (torch.arange(length) - centre_B1).abs() <= half_B1


class SceneAugmentation(Augmentation):
    """Scenes with their boxes: nothing is turned, for boxes are upright."""

    def __init__(self, config: AugmentationConfig) -> None:
        super().__init__(config.model_copy(update={"turn": 0.0, "cutout": config.cutout / 2}))

    def with_boxes(
        self, x_BCHW: Tensor, boxes: Sequence[Tensor], chance: Generator
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """The views, each picture's boxes_N4 in them, and which of these are still mostly in sight."""
        theta_B23 = random_views(len(x_BCHW), self.config, chance)
        seen_BCHW = self._hidden(self._lit(moved(x_BCHW, theta_B23), chance), chance)
        placed = [_placed(boxes_N4, theta_23) for boxes_N4, theta_23 in zip(boxes, theta_B23, strict=True)]
        inside = [boxes_N4.clamp(0, 1) for boxes_N4 in placed]
        kept = [_area(cut) > IN_SIGHT * _area(whole) for cut, whole in zip(inside, placed, strict=True)]
        return seen_BCHW.contiguous(memory_format=torch.channels_last), inside, kept


def random_views(count: int, config: AugmentationConfig, chance: Generator) -> Tensor:
    """theta_B23: from a place in the view to the place in the picture that is seen there, both from -1 to 1."""
    angle_B = math.radians(config.turn) * _even(count, chance)
    zoom_B, stretch_B = 1 + config.zoom * _even(count, chance), 1 + config.stretch * _even(count, chance)
    mirror_B = torch.where(torch.rand(count, generator=chance) < 0.5, -1.0, 1.0) if config.flip else torch.ones(count)
    across_B, down_B = zoom_B * stretch_B * mirror_B, zoom_B / stretch_B
    shift_B2 = 2 * config.shift * torch.stack([_even(count, chance), _even(count, chance)], dim=1)
    rows = (
        torch.stack([angle_B.cos() * across_B, -angle_B.sin() * down_B, shift_B2[:, 0]], dim=1),
        torch.stack([angle_B.sin() * across_B, angle_B.cos() * down_B, shift_B2[:, 1]], dim=1),
    )
    return torch.stack(rows, dim=1)


def moved(x_BCHW: Tensor, theta_B23: Tensor) -> Tensor:
    """What lies beyond the picture is as its edge."""
    return warped(x_BCHW, theta_B23, "border")


def warped(x_BCHW: Tensor, theta_B23: Tensor, beyond: str) -> Tensor:
    """`beyond`: what lies outside of the picture, border or zeros."""
    grid_BHW2 = functional.affine_grid(theta_B23.to(x_BCHW), list(x_BCHW.shape), align_corners=False)
    return functional.grid_sample(x_BCHW, grid_BHW2, padding_mode=beyond, align_corners=False)


def _placed(boxes_N4: Tensor, theta_23: Tensor) -> Tensor:
    """Boxes of a picture, corners from 0 to 1, in its view; the view is not turned."""
    scale_2, shift_2 = theta_23[:, :2].diagonal(), theta_23[:, 2]
    corners_N22 = (2 * boxes_N4.reshape(-1, 2, 2) - 1 - shift_2) / scale_2
    ordered_N22 = torch.stack([corners_N22.amin(dim=1), corners_N22.amax(dim=1)], dim=1)
    return ((ordered_N22 + 1) / 2).reshape(-1, 4)


def _area(boxes_N4: Tensor) -> Tensor:
    return (boxes_N4[:, 2] - boxes_N4[:, 0]) * (boxes_N4[:, 3] - boxes_N4[:, 1])


def _even(count: int, chance: Generator) -> Tensor:
    """From -1 to 1."""
    return 2 * torch.rand(count, generator=chance) - 1
