"""Boxes in a photo: what a detector says, how alike two boxes are, and which of several alike stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.features.images import Box
from training.metrics import Floats, Ints

VOTING_OVERLAP, LEAST_VOTE = 0.6, 1e-12


@dataclass(frozen=True, kw_only=True)
class Detection:
    """An article in a photo; corners as shares of its width and height."""

    box: Box
    label: str | None
    score: float


def overlaps(one_N4: Floats, other_M4: Floats) -> Floats:
    """Intersection over union of each box with each other one."""
    low_NM2 = np.maximum(one_N4[:, None, :2], other_M4[None, :, :2])
    high_NM2 = np.minimum(one_N4[:, None, 2:], other_M4[None, :, 2:])
    shared_NM = np.clip(high_NM2 - low_NM2, 0, None).prod(axis=2)
    area_N, area_M = _areas(one_N4), _areas(other_M4)
    union_NM = area_N[:, None] + area_M[None] - shared_NM
    return np.divide(shared_NM, union_NM, out=np.zeros_like(shared_NM), where=union_NM > 0)


def _areas(boxes_N4: Floats) -> Floats:
    areas_N: Floats = np.clip(boxes_N4[:, 2:] - boxes_N4[:, :2], 0, None).prod(axis=1)
    return areas_N


def distinct(boxes_N4: Floats, scores_N: Floats, *, most: int, overlap: float) -> Ints:
    """Places of the best boxes, best first, none of which overlaps a better one by more than `overlap`."""
    waiting, kept = np.lexsort((np.arange(len(scores_N)), -scores_N)), list[int]()
    while len(waiting) and len(kept) < most:
        best, waiting = int(waiting[0]), waiting[1:]
        kept.append(best)
        alike = overlaps(boxes_N4[best][None], boxes_N4[waiting])[0] > overlap
        waiting = waiting[~alike]
    return np.array(kept, np.int64)


def voted(boxes_N4: Floats, shares_N: Floats, kept_K: Ints) -> Floats:
    """voted_K4: of each kept box the mean of those that nearly cover it, weighted by their squared shares (0-1).

    Source: Gidaris and Komodakis, box voting, ICCV 2015.
    """
    votes_KN = np.where(overlaps(boxes_N4[kept_K], boxes_N4) > VOTING_OVERLAP, shares_N**2, 0.0)
    votes_KN[np.arange(len(kept_K)), kept_K] = np.maximum(shares_N[kept_K] ** 2, LEAST_VOTE)
    voted_K4: Floats = (votes_KN @ boxes_N4 / votes_KN.sum(axis=1, keepdims=True)).astype(np.float32)
    return voted_K4
