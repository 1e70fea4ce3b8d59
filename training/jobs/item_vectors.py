"""Items that the same people touch soon after one another are alike: first values of the ranker's item embeddings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.features.cooccurrence import cooccurrence_vectors
from training.features.sequences import Histories, Sequences
from training.features.vocabulary import UNKNOWN, Codes

WINDOW, FADING = 5, 1.0


def vectors_before(
    histories: Histories, until_us_U: npt.NDArray[np.int64], codes_I: Codes, *, width: int
) -> npt.NDArray[np.float64]:
    """Unit vectors of the items with these codes, from each user's events before a moment; zeros without neighbours."""
    places_C = np.full(int(max(codes_I.max(initial=0), histories.codes_N.max(initial=0))) + 1, UNKNOWN, np.int32)
    known = np.flatnonzero(codes_I != UNKNOWN)
    places_C[codes_I[known]] = known
    starts_U, ends_U = histories.offsets_U[:-1], histories.offsets_U[1:]
    users_N = np.repeat(np.arange(len(histories)), ends_U - starts_U)
    early_N = histories.timestamps_us_N < until_us_U[users_N]
    tokens_N = np.where(early_N & (histories.codes_N != UNKNOWN), places_C[histories.codes_N], UNKNOWN)
    sequences = Sequences(tokens_N=tokens_N.astype(np.int32), starts_U=starts_U, ends_U=ends_U)
    return _unit(cooccurrence_vectors(sequences, len(codes_I), width, window=WINDOW, fading=FADING).astype(np.float64))


def _unit(vectors_IW: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    norms_I1 = np.linalg.norm(vectors_IW, axis=1, keepdims=True)
    return np.where(norms_I1 > 1e-6, vectors_IW / np.maximum(norms_I1, 1e-6), 0.0)
