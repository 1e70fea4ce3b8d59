"""From scored candidates to a slate: order, diversity (MMR) and exploration with honest propensities."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.features.ranking import ItemFacts

Array = npt.NDArray[np.float64]
SAME_LEAF, SAME_ROOT, SAME_BRAND = 0.5, 0.3, 0.2


class Pick(NamedTuple):
    """One place of the slate: which candidate, and how likely it was to stand there given the places above."""

    candidate: int
    propensity: float


def best_first(scores_C: Array, retrieval_C: Sequence[float], item_ids: Sequence[str]) -> list[int]:
    """Indices by falling score; ties by retrieval's score, then by item_id."""
    keys = list(zip((-scores_C).tolist(), (-score for score in retrieval_C), item_ids, strict=True))
    return sorted(range(len(keys)), key=keys.__getitem__)


def diversify(
    order: Sequence[int], scores_C: Array, facts: Sequence[ItemFacts], *, weight: float, count: int
) -> list[int]:
    """Maximal marginal relevance (Carbonell & Goldstein 1998): the first `count` places re-ordered, the rest as it was.

    `order` and the result are candidate indices; `facts` and `scores_C` are by candidate.
    """
    if weight <= 0 or len(order) < 2:
        return list(order)
    relevance = _unit(scores_C)
    left, chosen = list(order), []
    likeness = np.zeros(len(facts))
    for _ in range(min(count, len(order))):
        gains = (1 - weight) * relevance[left] - weight * likeness[left]
        pick = left.pop(int(np.argmax(gains)))
        chosen.append(pick)
        likeness = np.maximum(likeness, _likeness(facts[pick], facts))
    return chosen + left


def explore(order: Sequence[int], *, rate: float, count: int, seed: int | None) -> list[Pick]:
    """Place by place the best candidate left, or with probability `rate` one drawn evenly from all that are left.

    The propensity of a place is the exact probability of its item there, given the items above it.
    """
    if rate <= 0:
        return [Pick(index, 1.0) for index in order[:count]]
    chance = random.Random(seed)
    left, picks = list(order), []
    for _ in range(min(count, len(order))):
        drawn = chance.randrange(len(left)) if chance.random() < rate else 0
        propensity = rate / len(left) + (1 - rate if drawn == 0 else 0.0)
        picks.append(Pick(left.pop(drawn), propensity))
    return picks


def _unit(scores_C: Array) -> Array:
    low, high = float(scores_C.min()), float(scores_C.max())
    return (scores_C - low) / (high - low) if high > low else np.ones_like(scores_C)


def _likeness(one: ItemFacts, others: Sequence[ItemFacts]) -> Array:
    return np.array([
        SAME_LEAF * (one.leaf != "" and one.leaf == other.leaf)
        + SAME_ROOT * (one.root != "" and one.root == other.root)
        + SAME_BRAND * (one.brand != "" and one.brand == other.brand)
        for other in others
    ])  # fmt: skip
