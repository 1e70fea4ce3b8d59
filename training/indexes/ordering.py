"""The order of an answer: best first, ties by id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.metrics import Floats, Ints


def best_first(slots_F: Ints, scores_F: Floats, ids: Sequence[str], k: int) -> tuple[Ints, Floats]:
    """The k best of what was found; only equal scores look at the ids."""
    if len(scores_F) > 4 * k:
        threshold = np.partition(scores_F, len(scores_F) - k)[len(scores_F) - k]
        kept = np.flatnonzero(scores_F >= threshold)
        slots_F, scores_F = slots_F[kept], scores_F[kept]
    order = np.argsort(-scores_F, kind="stable")
    slots_F, scores_F = slots_F[order], scores_F[order]
    if bool((scores_F[1:] == scores_F[:-1]).any()):
        order = np.array(sorted(range(len(slots_F)), key=lambda n: (-scores_F[n], ids[int(slots_F[n])])))
        slots_F, scores_F = slots_F[order], scores_F[order]
    return slots_F[:k], scores_F[:k]
