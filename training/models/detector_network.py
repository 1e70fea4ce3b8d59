"""An anchor-free detector: every cell of three resolutions says whether it is an article's, where its sides are, which.

Sources: Tian et al., FCOS, ICCV 2019; Lin et al., feature pyramids, CVPR 2017; Liu et al., CoordConv, NeurIPS 2018
(people stand upright and in the middle: where a cell lies says much of what is there).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.backbone import Backbone

LEVELS = 3
GROUPS = 8
FIRST_SCORE = 0.02
LARGEST_LOG = 5.0


class DetectorNetwork(nn.Module):
    """Of A cells: score logits_BA, boxes_BA4 (corners as shares of the square), label logits_BAL."""

    def __init__(self, backbone: Backbone, channels: int, labels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.across = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in backbone.channels[-LEVELS:])
        self.tower = nn.Sequential(_layer(channels + 2, channels), _layer(channels, channels))
        self.score, self.sides = nn.Conv2d(channels, 1, 3, padding=1), nn.Conv2d(channels, 4, 3, padding=1)
        self.label = nn.Conv2d(channels, max(labels, 1), 1)
        self.reach = nn.Parameter(torch.full((LEVELS,), math.log(2.0)))
        for layer in (self.score, self.sides):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.score.bias, -math.log(1 / FIRST_SCORE - 1))

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scores, boxes, labels = [], [], []
        for level, map_BCHW in enumerate(self._pyramid(x_BCHW)):
            centres_2HW = cell_centres(*map_BCHW.shape[2:]).to(map_BCHW)
            places = centres_2HW.expand(len(map_BCHW), -1, -1, -1)
            seen_BCHW = self.tower(torch.cat([map_BCHW, places], dim=1))
            scores.append(self.score(seen_BCHW).float().flatten(1))
            boxes.append(self._boxes(self.sides(seen_BCHW).float(), level))
            labels.append(self.label(seen_BCHW).float().flatten(2).transpose(1, 2))
        return torch.cat(scores, dim=1), torch.cat(boxes, dim=1), torch.cat(labels, dim=1)

    def _pyramid(self, x_BCHW: Tensor) -> list[Tensor]:
        """From fine to coarse, each with what the coarser ones know."""
        maps = [across(found) for across, found in zip(self.across, self.backbone(x_BCHW)[-LEVELS:], strict=True)]
        for level in range(LEVELS - 2, -1, -1):
            size = maps[level].shape[2:]
            maps[level] = maps[level] + functional.interpolate(maps[level + 1], size=size, mode="nearest")
        return maps

    def _boxes(self, sides_B4HW: Tensor, level: int) -> Tensor:
        """Corners from the distances to the left, upper, right and lower side, in cells."""
        height, width = sides_B4HW.shape[2:]
        distances = (sides_B4HW + self.reach[level]).clamp(max=LARGEST_LOG).exp() / max(height, width)
        centres_2HW = cell_centres(height, width).to(distances)
        corners = torch.cat([centres_2HW - distances[:, :2], centres_2HW + distances[:, 2:]], dim=1)
        return corners.flatten(2).transpose(1, 2)


def cell_centres(height: int, width: int) -> Tensor:
    """x and y of each cell's middle, from 0 to 1."""
    down_HW, across_HW = torch.meshgrid(
        (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij"
    )
    return torch.stack([across_HW, down_HW])


def cells_of(side: int, strides: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """centres_A2 and sizes_A of all cells in a square of `side`, in the order of the network's answers."""
    counts = [math.ceil(side / stride) for stride in strides[-LEVELS:]]
    centres = [cell_centres(count, count).flatten(1).t() for count in counts]
    return torch.cat(centres), torch.cat([torch.full((count * count,), 1 / count) for count in counts])


def _layer(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.GroupNorm(GROUPS, out), nn.ReLU(inplace=True)
    )
