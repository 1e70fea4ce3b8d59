"""Searches that look at a part of the vectors, and further where a filter leaves little of that part."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from training.indexes.faiss_index import FEW_EXTRA, FaissIndex
from training.indexes.nodes import Choice
from training.metrics import Floats, Ints

WIDER = (1.0, 4.0, 16.0)
"""Efforts tried before every allowed row is looked at."""


class ApproximateIndex(FaissIndex):
    """An index whose search costs more the more it should find: `effort` 1 is what the config says."""

    @abstractmethod
    def _probe(self, query_1D: Floats, fetch: int, choice: Choice, effort: float) -> Ints:
        """At most `fetch` rows of `choice` near the query; rows of -1 are none."""

    def _find(self, query_1D: Floats, k: int, choice: Choice) -> Ints:
        fetch = min(k + FEW_EXTRA, choice.count)
        for wider in WIDER:
            effort = wider * self._nodes.rows / choice.count
            nodes_F = self._probe(query_1D, fetch, choice, effort)
            nodes_F = nodes_F[nodes_F >= 0]
            if len(nodes_F) >= k:
                return nodes_F
        return np.arange(self._nodes.rows) if choice.mask_N is None else choice.nodes
