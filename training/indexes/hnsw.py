"""Search along a graph of near vectors (Malkov & Yashunin 2018)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from training.indexes.approximate import ApproximateIndex
from training.indexes.files import misfit
from training.indexes.native import faiss
from training.indexes.nodes import Choice
from training.metrics import Floats

HEADROOM = 2.0
"""The common length squared over that of the longest vector at the time of building."""


class HnswIndex(ApproximateIndex):
    """FAISS's HNSW over the vectors themselves: 4 bytes a dimension and 8 a link.

    One coordinate more makes all vectors equally long: the nearest to a query, which has zero there, is then the one of
    the largest inner product (Bachrach et al. 2014). A longer vector that comes later is found less surely, until the
    rebuild that it asks for; a few that are many times longer than all others cost recall even then.
    """

    kind = "hnsw"
    added_dims = 1

    def _built(self, vectors_ND: Floats) -> Any:
        rows = faiss.IndexHNSWFlat(self.dim + self.added_dims, self.config.hnsw_m, faiss.METRIC_L2)
        rows.hnsw.efConstruction = self.config.hnsw_ef_construction
        rows.hnsw.rng = faiss.RandomGenerator(self.config.seed)
        rows.add(_lengthened(vectors_ND, HEADROOM * _longest(vectors_ND)))
        return rows

    def _hold(self, rows: Any) -> None:
        super()._hold(rows)
        rows.hnsw.efSearch = self.config.hnsw_ef_search
        stored_ND = faiss.rev_swig_ptr(self._stored.get_xb(), rows.ntotal * rows.d).reshape(-1, rows.d)
        self._length_squared = float(_squared(stored_ND).min(initial=np.inf)) if rows.ntotal else 0.0
        self._longest_added = 0.0

    def _add(self, vectors_ND: Floats) -> None:
        self._rows.add(_lengthened(np.asarray(vectors_ND, np.float32), self._length_squared))
        self._longest_added = max(self._longest_added, _longest(vectors_ND))

    def _outgrown(self) -> bool:
        return self._longest_added > self._length_squared

    def _vectors_in(self, rows: Any) -> Any:
        return faiss.downcast_index(rows.storage)

    def _as_query(self, query_1D: Floats) -> Floats:
        lengthened_1D = np.zeros((1, self.dim + self.added_dims), np.float32)
        lengthened_1D[:, : self.dim] = query_1D
        return lengthened_1D

    def _parameters(self, fetch: int, choice: Choice, effort: float) -> Any:
        kept = min(int(effort * max(fetch, self.config.hnsw_ef_search)), self._nodes.rows)
        return faiss.SearchParametersHNSW(efSearch=kept, sel=choice.selector)

    @classmethod
    def _opened(cls, rows: Any, file: Path) -> Any:
        if not isinstance(rows, faiss.IndexHNSWFlat):
            raise misfit(file, "is no graph", type(rows).__name__, "IndexHNSWFlat")
        if rows.metric_type != faiss.METRIC_L2:
            raise misfit(file, "is a graph by inner product, as earlier versions built it: train again")
        return rows


def _squared(vectors_ND: Floats) -> Floats:
    """The length of each, squared."""
    return np.einsum("nd,nd->n", vectors_ND, vectors_ND)


def _longest(vectors_ND: Floats) -> float:
    return float(_squared(vectors_ND).max(initial=0.0))


def _lengthened(vectors_ND: Floats, length_squared: float) -> Floats:
    """Each with a coordinate more that makes it so long, if it is not longer."""
    missing_N = np.maximum(length_squared - _squared(vectors_ND), 0.0)
    return np.hstack([vectors_ND, np.sqrt(missing_N)[:, None]], dtype=np.float32)
