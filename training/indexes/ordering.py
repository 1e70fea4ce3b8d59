"""The order of an answer: best first, ties by id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.metrics import Floats, Ints

NOTHING = np.zeros(0, np.int64), np.zeros(0, np.float32)


def best_first(slots_F: Ints, scores_F: Floats, ids: Sequence[str], k: int) -> tuple[Ints, Floats]:
    """The k best of what was found; only equal scores look at the ids."""
    if len(scores_F) > 4 * k:
        threshold = np.partition(scores_F, len(scores_F) - k)[len(scores_F) - k]
        kept = np.flatnonzero(scores_F >= threshold)
        slots_F, scores_F = slots_F[kept], scores_F[kept]
    if not _falls(scores_F):
        order = np.argsort(-scores_F, kind="stable")
        slots_F, scores_F = slots_F[order], scores_F[order]
        if not _falls(scores_F):
            order = np.array(sorted(range(len(slots_F)), key=lambda n: (-scores_F[n], ids[int(slots_F[n])])))
            slots_F, scores_F = slots_F[order], scores_F[order]
    return slots_F[:k], scores_F[:k]


def stacked(found: Sequence[tuple[Ints, Floats]], k: int) -> tuple[Ints, Floats]:
    """slots_BK and scores_BK of B answers; slot -1 and score -inf after the end of a shorter one."""
    if len(found) == 1 and len(found[0][0]) == k:
        return found[0][0][None], found[0][1][None]
    slots_BK = np.full((len(found), k), -1, np.int64)
    scores_BK = np.full((len(found), k), -np.inf, np.float32)
    for row, (slots, scores) in enumerate(found):
        slots_BK[row, : len(slots)], scores_BK[row, : len(scores)] = slots, scores
    return slots_BK, scores_BK


def _falls(scores_F: Floats) -> bool:
    """Whether each is less than the one before."""
    return not np.count_nonzero(scores_F[1:] >= scores_F[:-1])
