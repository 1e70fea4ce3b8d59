"""Search in inverted lists of short codes (Jégou et al. 2011), the best ranked anew by their vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.indexes.approximate import ApproximateIndex
from training.indexes.files import misfit
from training.indexes.native import faiss
from training.indexes.nodes import Choice
from training.metrics import Floats

CODE_BITS = 8
LEAST_ROWS = 4 * 2**CODE_BITS
"""Fewer rows cannot be clustered: their codes are the vectors themselves."""
ROWS_PER_LIST = 39
"""FAISS's own least number of training rows for a centre."""
TRAINING_ROWS_PER_LIST = 64


class IvfPqIndex(ApproximateIndex):
    """FAISS's IVF-PQ behind a refinement: `pq_bytes` and 8 more for the code, and 4 (or 2) bytes a dimension."""

    kind = "ivf_pq"

    def _built(self, vectors_ND: Floats) -> Any:
        codes = faiss.IndexFlatIP(self.dim) if len(vectors_ND) < LEAST_ROWS else self._clustered(vectors_ND)
        halved = self.config.refine_dtype == "float16"
        vectors = (
            faiss.IndexScalarQuantizer(self.dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
            if halved
            else faiss.IndexFlatIP(self.dim)
        )
        rows = faiss.IndexRefine(codes, vectors)
        rows.add(vectors_ND)
        return rows

    def _clustered(self, vectors_ND: Floats) -> Any:
        lists = self._lists_for(len(vectors_ND))
        code_bytes = next(size for size in range(min(self.config.pq_bytes, self.dim), 0, -1) if self.dim % size == 0)
        codes = faiss.IndexIVFPQ(
            faiss.IndexFlatIP(self.dim), self.dim, lists, code_bytes, CODE_BITS, faiss.METRIC_INNER_PRODUCT
        )
        for clustering in (codes.cp, codes.pq.cp):
            clustering.seed, clustering.max_points_per_centroid = 1 + self.config.seed, TRAINING_ROWS_PER_LIST
            clustering.min_points_per_centroid = 1
        codes.train(vectors_ND)
        return codes

    def _lists_for(self, rows: int) -> int:
        lists = self.config.ivf_nlist or int(4 * rows**0.5)
        return max(1, min(lists, rows // ROWS_PER_LIST))

    def _outgrown(self) -> bool:
        """Lists grow with the root of the rows: twice as many are due once the rows are fourfold."""
        if not isinstance(self._codes, faiss.IndexIVF):
            return self._nodes.rows >= LEAST_ROWS
        return self._lists_for(self._nodes.rows) >= 2 * self._codes.nlist

    def _hold(self, rows: Any) -> None:
        super()._hold(rows)
        self._codes = faiss.downcast_index(rows.base_index)
        rows.k_factor = self.config.refine_factor
        if isinstance(self._codes, faiss.IndexIVF):
            self._codes.nprobe = self.config.ivf_nprobe

    def _vectors_in(self, rows: Any) -> Any:
        return faiss.downcast_index(rows.refine_index)

    def _parameters(self, fetch: int, choice: Choice, effort: float) -> Any:  # noqa: ARG002
        chosen = (
            faiss.SearchParametersIVF(nprobe=int(effort * self.config.ivf_nprobe), sel=choice.selector)
            if isinstance(self._codes, faiss.IndexIVF)
            else faiss.SearchParameters(sel=choice.selector)
        )
        return faiss.IndexRefineSearchParameters(k_factor=self.config.refine_factor, base_index_params=chosen)

    @classmethod
    def _opened(cls, rows: Any, file: Path) -> Any:
        if not isinstance(rows, faiss.IndexRefine):
            raise misfit(file, "is no index of codes", type(rows).__name__, "IndexRefine")
        return rows
