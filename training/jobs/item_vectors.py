"""Items that the same people touch soon after one another are alike: first values of the ranker's item embeddings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import svds

from training.features.sequences import Histories
from training.features.vocabulary import UNKNOWN, Codes

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

WINDOW = 5
SMOOTHING = 0.75
LEAST_ITEMS = 3


def vectors_before(histories: Histories, until_us_U: Ints, codes_I: Codes, *, width: int) -> Floats:
    """Vectors of the items with these codes, from each user's events before a moment."""
    users_N = np.repeat(np.arange(len(histories)), np.diff(histories.offsets_U))
    places_C = np.full(int(max(codes_I.max(initial=0), histories.codes_N.max(initial=0))) + 1, UNKNOWN, np.int64)
    places_C[codes_I] = np.arange(len(codes_I))
    places_N = places_C[histories.codes_N]
    kept_N = (histories.timestamps_us_N < until_us_U[users_N]) & (places_N != UNKNOWN)
    return item_vectors(users_N[kept_N], places_N[kept_N], items=len(codes_I), width=width)


def item_vectors(users_N: Ints, codes_N: Ints, *, items: int, width: int) -> Floats:
    """Unit vectors [items, width] of events in order by user and time; zeros for what has no neighbour.

    Truncated SVD of the positive mutual information of neighbours (Levy and Goldberg 2014), near ones counting more.
    """
    vectors_IW = np.zeros((items, width))
    information_II = _mutual_information(_neighbours(users_N, codes_N, items))
    rank = min(width, items - 1)
    if items < LEAST_ITEMS or not information_II.nnz:
        return vectors_IW
    left_IR, sizes_R, _ = svds(information_II, k=rank, random_state=0)
    found_IR = left_IR * np.sqrt(np.maximum(sizes_R, 0.0))
    norms_I1 = np.linalg.norm(found_IR, axis=1, keepdims=True)
    vectors_IW[:, :rank] = np.where(norms_I1 > 1e-6, found_IR / np.maximum(norms_I1, 1e-6), 0.0)
    return vectors_IW


def _neighbours(users_N: Ints, codes_N: Ints, items: int) -> sparse.coo_matrix:
    """How often two items stand within WINDOW events of a user, over their distance; symmetric."""
    counts_II = sparse.csr_matrix((items, items))
    for distance in range(1, WINDOW + 1):
        same = users_N[distance:] == users_N[:-distance]
        places = codes_N[:-distance][same], codes_N[distance:][same]
        counts_II = counts_II + sparse.csr_matrix((np.full(same.sum(), 1 / distance), places), (items, items))
    return (counts_II + counts_II.T).tocoo()


def _mutual_information(counts_II: sparse.coo_matrix) -> sparse.csr_matrix:
    totals_I = np.asarray(counts_II.sum(axis=1)).ravel()
    smooth_I = totals_I**SMOOTHING
    smooth_I /= max(float(smooth_I.sum()), 1e-12)
    expected_M = totals_I[counts_II.row] * smooth_I[counts_II.col]
    values_M = np.maximum(np.log(counts_II.data / expected_M), 0.0)
    information_II = sparse.csr_matrix((values_M, (counts_II.row, counts_II.col)), counts_II.shape)
    information_II.eliminate_zeros()
    return information_II
