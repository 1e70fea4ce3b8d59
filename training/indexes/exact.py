"""Exact search: every vector is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.indexes.faiss_index import FaissIndex
from training.indexes.files import misfit
from training.indexes.native import faiss
from training.indexes.nodes import Choice
from training.metrics import Floats, Ints


class ExactIndex(FaissIndex):
    """FAISS's flat index: 4 bytes a dimension, time in proportion to the rows."""

    kind = "exact"

    def _built(self, vectors_ND: Floats) -> Any:
        rows = faiss.IndexFlatIP(self.dim)
        rows.add(vectors_ND)
        return rows

    def _vectors_in(self, rows: Any) -> Any:
        return rows

    def _find(self, query_1D: Floats, k: int, choice: Choice) -> tuple[Ints, Floats]:
        """FAISS's own scores, of the same kernel as `_scores`.

        It breaks ties as it likes: fetch until the k-th score is clearly above what was left out.
        """
        fetch = min(k + 1, choice.count)
        while True:
            scores_1F, nodes_1F = self._rows.search(query_1D, fetch, params=_chosen(choice))
            if fetch == choice.count or scores_1F[0, k - 1] > scores_1F[0, -1]:
                return nodes_1F[0], scores_1F[0]
            fetch = min(2 * fetch, choice.count)

    @classmethod
    def _opened(cls, rows: Any, file: Path) -> Any:
        if not isinstance(rows, faiss.IndexFlat):
            raise misfit(file, "is no flat index", type(rows).__name__, "IndexFlatIP")
        return rows


def _chosen(choice: Choice) -> Any:
    return None if choice.selector is None else faiss.SearchParameters(sel=choice.selector)
