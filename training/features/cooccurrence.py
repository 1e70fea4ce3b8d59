"""Item vectors from who stands near whom in the histories: positive PMI, factorised.

Source: Levy and Goldberg, NIPS 2014; the contexts' counts smoothed as in Levy, Goldberg and Dagan, TACL 2015.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import svds

from training.features.sequences import Sequences
from training.features.vocabulary import UNKNOWN, Codes

WINDOW, FADING = 10, 0.5
SMOOTHING = 0.75


def cooccurrence_vectors(
    sequences: Sequences, items: int, dim: int, *, window: int = WINDOW, fading: float = FADING
) -> npt.NDArray[np.float32]:
    """vectors_ID of mean square 1; rows of 0 for items that stand near no other, columns of 0 past the rank.

    Two items count distance**-fading where they stand within `window` of each other; unknown items are passed over.
    """
    vectors_ID = np.zeros((items, dim), np.float32)
    tokens_N = np.concatenate([*sequences, np.zeros(0, np.int32)])
    users_N = np.repeat(np.arange(len(sequences)), sequences.lengths_U)
    known_N = tokens_N != UNKNOWN
    pmi_II = _positive_pmi(_counts(tokens_N[known_N], users_N[known_N], items, window, fading))
    rank = min(dim, items - 1)
    if rank < 1 or not pmi_II.nnz:
        return vectors_ID
    begun_I = np.random.default_rng(0).standard_normal(items).astype(np.float32)
    left_IR, strength_R, _ = svds(pmi_II, k=rank, v0=begun_I)
    vectors_ID[:, :rank] = left_IR * np.sqrt(strength_R)
    return vectors_ID / np.sqrt(np.mean(np.square(vectors_ID)))


def _counts(
    tokens_N: Codes, user_N: npt.NDArray[np.int64], items: int, window: int, fading: float
) -> sparse.csr_matrix:
    """counts_II, symmetric: of each pair within the window, less the further apart they stand."""
    counts_II = _summed(tokens_N[:0], tokens_N[:0], 0.0, items)
    for apart in range(1, window + 1):
        together = user_N[apart:] == user_N[:-apart]
        near = tokens_N[:-apart][together], tokens_N[apart:][together]
        counts_II = counts_II + _summed(*near, apart**-fading, items)
    return (counts_II + counts_II.T).tocsr()


def _summed(left_P: Codes, right_P: Codes, weight: float, items: int) -> sparse.csr_matrix:
    weights_P = np.full(len(left_P), weight, np.float32)
    return sparse.csr_matrix((weights_P, (left_P, right_P)), shape=(items, items))


def _positive_pmi(counts_II: sparse.csr_matrix) -> sparse.csr_matrix:
    cells = counts_II.tocoo()
    share_I = np.asarray(counts_II.sum(axis=1)).ravel()
    context_I = share_I**SMOOTHING / max(float((share_I**SMOOTHING).sum()), 1e-12)
    pmi_N = np.log(cells.data / (share_I[cells.row] * context_I[cells.col])).astype(np.float32)
    kept = pmi_N > 0
    return sparse.csr_matrix((pmi_N[kept], (cells.row[kept], cells.col[kept])), shape=counts_II.shape)
