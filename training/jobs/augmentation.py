"""Random views of training pictures, a whole batch at a time."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from training.jobs.vision_config import AugmentationConfig


class Augmentation:
    """x_BCHW around 0, as `pixels_of` gives it, seen from elsewhere in another light."""

    def __init__(self, config: AugmentationConfig) -> None:
        self.config = config

    def __call__(self, x_BCHW: Tensor, chance: Generator) -> Tensor:
        moved_BCHW = self._moved(x_BCHW, chance)
        return self._hidden(self._lit(moved_BCHW, chance), chance).contiguous(memory_format=torch.channels_last)

    def _moved(self, x_BCHW: Tensor, chance: Generator) -> Tensor:
        count, config = len(x_BCHW), self.config
        angle_B = math.radians(config.turn) * _even(count, chance)
        zoom_B, stretch_B = 1 + config.zoom * _even(count, chance), 1 + config.stretch * _even(count, chance)
        mirror_B = torch.where(torch.rand(count, generator=chance) < 0.5, -1.0, 1.0) if config.flip else 1.0
        across_B, down_B = zoom_B * stretch_B * mirror_B, zoom_B / stretch_B
        shift_B2 = 2 * config.shift * torch.stack([_even(count, chance), _even(count, chance)], dim=1)
        rows = (
            torch.stack([angle_B.cos() * across_B, -angle_B.sin() * down_B, shift_B2[:, 0]], dim=1),
            torch.stack([angle_B.sin() * across_B, angle_B.cos() * down_B, shift_B2[:, 1]], dim=1),
        )
        theta_B23 = torch.stack(rows, dim=1).to(x_BCHW)
        grid_BHW2 = functional.affine_grid(theta_B23, list(x_BCHW.shape), align_corners=False)
        return functional.grid_sample(x_BCHW, grid_BHW2, padding_mode="border", align_corners=False)

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
        covers = [
            self._span(count, length, chance).masked_fill(shown_B[:, None], False) for length in (height, width)
        ]
        hidden_BHW = (covers[0][:, :, None] & covers[1][:, None, :]).to(x_BCHW.device)
        return x_BCHW.masked_fill(hidden_BHW[:, None], 0.0)

    def _span(self, count: int, length: int, chance: Generator) -> Tensor:
        """covered_BL: a stretch of random place and length in each row."""
        half_B1 = 0.5 * length * self.config.cutout * torch.rand(count, 1, generator=chance)
        centre_B1 = length * torch.rand(count, 1, generator=chance)
        return (torch.arange(length) - centre_B1).abs() <= half_B1


def _even(count: int, chance: Generator) -> Tensor:
    """From -1 to 1."""
    return 2 * torch.rand(count, generator=chance) - 1
