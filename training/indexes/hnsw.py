"""Search along a graph of near vectors (Malkov & Yashunin 2018)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.indexes.approximate import ApproximateIndex
from training.indexes.faiss_index import misfit
from training.indexes.native import faiss
from training.indexes.nodes import Choice
from training.metrics import Floats, Ints


class HnswIndex(ApproximateIndex):
    """FAISS's HNSW over the vectors themselves: 4 bytes a dimension and 8 a link."""

    kind = "hnsw"

    def _built(self, vectors_ND: Floats) -> Any:
        rows = faiss.IndexHNSWFlat(self.dim, self.config.hnsw_m, faiss.METRIC_INNER_PRODUCT)
        rows.hnsw.efConstruction = self.config.hnsw_ef_construction
        rows.hnsw.rng = faiss.RandomGenerator(self.config.seed)
        rows.add(vectors_ND)
        return rows

    def _vectors_in(self, rows: Any) -> Any:
        return faiss.downcast_index(rows.storage)

    def _probe(self, query_1D: Floats, fetch: int, choice: Choice, effort: float) -> Ints:
        kept = min(int(effort * max(fetch, self.config.hnsw_ef_search)), self._nodes.rows)
        chosen = faiss.SearchParametersHNSW(efSearch=kept, sel=choice.selector)
        _, nodes_1F = self._rows.search(query_1D, fetch, params=chosen)
        found: Ints = nodes_1F[0]
        return found

    @classmethod
    def _opened(cls, rows: Any, file: Path) -> Any:
        if not isinstance(rows, faiss.IndexHNSWFlat):
            raise misfit(file, "is no graph", type(rows).__name__, "IndexHNSWFlat")
        return rows
