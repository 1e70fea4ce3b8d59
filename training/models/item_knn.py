"""Item-kNN: items that occur with those of the history, by shrunk cosine, the newest counting most.

Source: Sarwar et al., WWW 2001; session kNN's recency decay after Ludewig and Jannach, UMUAI 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from training.features.sequences import Moments, Sequences
from training.features.vocabulary import Codes
from training.metrics import Floats, Ints
from training.models.retriever import Retriever

LONGEST_HISTORY = 200
PAIRS_PER_BLOCK = 2_000_000


class ItemKnn(Retriever):
    """Sparse item-item similarities; a history's score is their sum, weighted by `decay ** age`."""

    kind = "item_knn"

    def __init__(self, similarities_II: sparse.csr_matrix, *, decay: float = 1.0) -> None:
        self.similarities_II = similarities_II
        self.decay = decay

    @classmethod
    def fit(cls, train: Sequences, items: int, *, neighbours: int, shrinkage: float) -> Self:
        """Keep the `neighbours` most similar items of each; `shrinkage` damps pairs that few users share."""
        users_UI = incidence(train.last(LONGEST_HISTORY), items)
        users_UI.data[:] = 1.0
        # A user of many items says less about each pair of them.
        weights_U = (1.0 / np.sqrt(np.maximum(np.diff(users_UI.indptr), 1))).astype(np.float32)
        weighted_IU = (users_UI.T @ sparse.diags(weights_U)).tocsr()
        norms_I = np.sqrt(users_UI.T @ weights_U + shrinkage)
        inverse_I = (1.0 / np.maximum(norms_I, 1e-6)).astype(np.float32)
        blocks = [
            strongest(_similarities(weighted_IU, users_UI, inverse_I, block), neighbours)
            for block in _blocks(users_UI, weighted_IU)
        ]
        return cls(sparse.vstack(blocks, format="csr"))

    def with_decay(self, decay: float) -> Self:
        """The same similarities, a token counting `decay` times as much as the one after it."""
        return type(self)(self.similarities_II, decay=decay)

    @property
    def items(self) -> int:
        return int(self.similarities_II.shape[0])

    def score(self, histories: Sequence[Codes], _times_us: Moments = None) -> Floats:
        weights_BI = decayed_incidence(histories, self.items, self.decay)
        return np.asarray((weights_BI @ self.similarities_II).todense(), dtype=np.float32)

    def similarity(self, code: int) -> Floats:
        return np.asarray(self.similarities_II[code].todense(), dtype=np.float32)[0]

    def state(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        matrix = self.similarities_II
        arrays = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
        return arrays, {"items": self.items, "decay": self.decay}

    @classmethod
    def from_state(cls, arrays: dict[str, npt.NDArray[Any]], settings: dict[str, Any]) -> Self:
        shape = (settings["items"], settings["items"])
        matrix = sparse.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
        return cls(matrix, decay=settings["decay"])


def _blocks(users_UI: sparse.csr_matrix, weighted_IU: sparse.csr_matrix) -> list[Ints]:
    """Rows of items that together have about PAIRS_PER_BLOCK pairs."""
    met_I = np.diff(users_UI.indptr)[weighted_IU.indices]
    pairs_I = np.minimum(np.diff(np.append(0, np.cumsum(met_I))[weighted_IU.indptr]), weighted_IU.shape[0])
    block_I = np.cumsum(pairs_I) // PAIRS_PER_BLOCK
    return np.split(np.arange(len(block_I)), np.flatnonzero(np.diff(block_I)) + 1)


def _similarities(
    weighted_IU: sparse.csr_matrix, users_UI: sparse.csr_matrix, inverse_I: Floats, block: Ints
) -> sparse.csr_matrix:
    """Shrunk cosines of the items in `block` with all others, none with themselves."""
    together = weighted_IU[block] @ users_UI
    rows = np.repeat(block, np.diff(together.indptr))
    together.data *= inverse_I[rows]
    together.data *= inverse_I[together.indices]
    together.data[rows == together.indices] = 0.0
    together.eliminate_zeros()
    return together


def incidence(sequences: Sequences, items: int) -> sparse.csr_matrix:
    """counts_UI: how often each user's slice holds each item."""
    return decayed_incidence(list(sequences), items, 1.0)


def decayed_incidence(histories: Sequence[Codes], items: int, decay: float) -> sparse.csr_matrix:
    """weights_BI: the sum of decay ** age over an item's occurrences, the newest token being of age 0."""
    lengths = np.array([len(history) for history in histories], np.int64)
    codes = np.concatenate([*histories, np.zeros(0, np.int32)])
    ages = np.repeat(np.cumsum(lengths), lengths) - 1 - np.arange(len(codes))
    rows = np.repeat(np.arange(len(histories)), lengths)
    weights = np.power(np.float32(decay), ages.astype(np.float32))
    return sparse.csr_matrix((weights, (rows, codes)), shape=(len(histories), items), dtype=np.float32)


def strongest(matrix: sparse.csr_matrix, keep: int) -> sparse.csr_matrix:
    """`matrix` with only the `keep` largest entries of each row; ties by column."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    place = np.arange(len(order)) - matrix.indptr[rows[order]]
    kept = order[place < keep]
    return sparse.csr_matrix((matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape)
