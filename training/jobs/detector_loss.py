"""Which cells of a detector are whose, and what they are taught.

Sources: Ge et al., YOLOX, 2021 (assignment by cost); Zhang et al., VarifocalNet, CVPR 2021; Rezatofighi et al.,
generalised IoU, CVPR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

NEAR_CELLS = 2.0
MOST_CELLS = 8
PLACE_WEIGHT, BOX_WEIGHT, LABEL_WEIGHT = 3.0, 2.0, 0.5
EMPTY_WEIGHT, HARD_POWER = 0.75, 2.0
OUT_OF_REACH = 1e4


@dataclass(frozen=True, kw_only=True)
class Cells:
    """centres_A2 from 0 to 1 and sizes_A of all cells."""

    centres_A2: Tensor
    sizes_A: Tensor


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The boxes_G4 of a picture, corners from 0 to 1, and their labels_G; -1 where a label is not known."""

    boxes_G4: Tensor
    labels_G: Tensor


def detector_loss(answer: tuple[Tensor, Tensor, Tensor], truths: list[Truth], cells: Cells) -> Tensor:
    """Mean over the batch's articles."""
    scores_BA, boxes_BA4, labels_BAL = answer
    wanted_BA = torch.zeros_like(scores_BA)
    box_loss = label_loss = 0.0 * (boxes_BA4.sum() + labels_BAL.sum())
    for row, truth in enumerate(truths):
        if not len(truth.boxes_G4):
            continue
        places_P, owner_P = assigned(scores_BA[row].detach(), boxes_BA4[row].detach(), truth, cells)
        own_P4 = truth.boxes_G4[owner_P]
        overlap_P, generalised_P = paired_overlaps(boxes_BA4[row, places_P], own_P4)
        quality_P = overlap_P.detach().clamp(min=0.05)
        wanted_BA[row, places_P] = quality_P
        box_loss = box_loss + (quality_P * (1 - generalised_P)).sum()
        named = truth.labels_G[owner_P] >= 0
        label_loss = label_loss + functional.cross_entropy(
            labels_BAL[row, places_P][named], truth.labels_G[owner_P][named], reduction="sum"
        )
    weight = wanted_BA.sum().clamp(min=1.0)
    return score_loss(scores_BA, wanted_BA) / weight + (BOX_WEIGHT * box_loss + LABEL_WEIGHT * label_loss) / weight


def score_loss(scores_BA: Tensor, wanted_BA: Tensor) -> Tensor:
    """Cross-entropy with the overlap as target; empty cells count by how sure they are."""
    losses_BA = functional.binary_cross_entropy_with_logits(scores_BA, wanted_BA, reduction="none")
    sure_BA = scores_BA.detach().sigmoid()
    weights_BA = torch.where(wanted_BA > 0, wanted_BA, EMPTY_WEIGHT * sure_BA**HARD_POWER)
    return (losses_BA * weights_BA).sum()


def assigned(scores_A: Tensor, boxes_A4: Tensor, truth: Truth, cells: Cells) -> tuple[Tensor, Tensor]:
    """Cells and the article that each belongs to: the cheapest near its middle, as many as its boxes are good."""
    overlaps_GA = all_overlaps(truth.boxes_G4, boxes_A4)
    near_GA = _near(truth.boxes_G4, cells)
    costs_GA = functional.softplus(-scores_A)[None] - PLACE_WEIGHT * overlaps_GA.clamp(min=1e-4).log()
    costs_GA = costs_GA + OUT_OF_REACH * ~near_GA
    counts_G = overlaps_GA.topk(MOST_CELLS, dim=1).values.sum(dim=1).int().clamp(min=1).tolist()
    taken_GA = torch.zeros_like(near_GA)
    for article, count in enumerate(counts_G):
        taken_GA[article, costs_GA[article].topk(count, largest=False).indices] = True
    places_P = taken_GA.any(dim=0).nonzero()[:, 0]
    owner_P = costs_GA.masked_fill(~taken_GA, float("inf"))[:, places_P].argmin(dim=0)
    return places_P, owner_P


def _near(boxes_G4: Tensor, cells: Cells) -> Tensor:
    """Whether a cell lies within NEAR_CELLS of its size from an article's middle."""
    middles_G2 = (boxes_G4[:, :2] + boxes_G4[:, 2:]) / 2
    away_GA = (middles_G2[:, None] - cells.centres_A2[None]).abs().amax(dim=2)
    return away_GA <= NEAR_CELLS * cells.sizes_A[None]


def all_overlaps(one_N4: Tensor, other_M4: Tensor) -> Tensor:
    """Intersection over union of each box with each other one."""
    return paired_overlaps(one_N4[:, None].expand(-1, len(other_M4), -1), other_M4[None].expand(len(one_N4), -1, -1))[0]


def paired_overlaps(one_N4: Tensor, other_N4: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union of each pair, and its generalised form."""
    low, high = torch.maximum(one_N4[..., :2], other_N4[..., :2]), torch.minimum(one_N4[..., 2:], other_N4[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    union = _area(one_N4) + _area(other_N4) - shared
    around = torch.maximum(one_N4[..., 2:], other_N4[..., 2:]) - torch.minimum(one_N4[..., :2], other_N4[..., :2])
    hull = around.clamp(min=1e-6).prod(dim=-1)
    overlap = shared / union.clamp(min=1e-9)
    return overlap, overlap - (hull - union) / hull


def _area(boxes_N4: Tensor) -> Tensor:
    return (boxes_N4[..., 2:] - boxes_N4[..., :2]).clamp(min=0).prod(dim=-1)
