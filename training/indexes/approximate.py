"""Searches that look at a part of the vectors, and further where a filter leaves little of that part."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from training.indexes.faiss_index import FaissIndex
from training.indexes.nodes import Choice
from training.metrics import Floats, Ints

FEW_EXTRA = 8
"""Fetched beyond k, so that what ties at its end is seen, and what FAISS rounds."""
WIDER = (1.0, 4.0, 16.0)
"""Efforts tried before every allowed row is looked at."""


class ApproximateIndex(FaissIndex):
    """An index whose search costs more the more it should find: `effort` 1 is what the config says."""

    @abstractmethod
    def _parameters(self, fetch: int, choice: Choice, effort: float) -> Any:
        """FAISS's search parameters for `fetch` rows of `choice`."""

    def _as_query(self, query_1D: Floats) -> Floats:
        """The query as it is compared with the rows."""
        return query_1D

    def _find(self, query_1D: Floats, k: int, choice: Choice) -> tuple[Ints, Floats]:
        nodes_F = self._found(query_1D, k, choice)
        return nodes_F, self._scores(query_1D, nodes_F)

    def _found(self, query_1D: Floats, k: int, choice: Choice) -> Ints:
        fetch = min(k + FEW_EXTRA, choice.count)
        for wider in WIDER:
            effort = wider * self._nodes.rows / choice.count
            # What FAISS does by itself is what the config says: no parameters need to be made.
            parameters = self._parameters(fetch, choice, effort) if effort > 1 else None
            _, nodes_1F = self._rows.search(self._as_query(query_1D), fetch, params=parameters)
            nodes_F: Ints = nodes_1F[nodes_1F >= 0]
            if len(nodes_F) >= k:
                return nodes_F
        return np.arange(self._nodes.rows) if choice.mask_N is None else choice.nodes.copy()
