"""Building an index anew in the background, from what was live at the start."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from training.indexes.native import faiss
from training.indexes.nodes import DELETED, Nodes
from training.metrics import Bools, Floats, Ints


class OneThread:
    """FAISS on one thread, in this thread of ours only: what it builds is then the same each time."""

    def __enter__(self) -> None:
        self._before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        faiss.omp_set_num_threads(self._before)


class Rebuild:
    """One build in a thread of its own; the index goes on with its old rows until it takes the new ones."""

    def __init__(self, nodes: Nodes, vectors_of: Callable[[Ints], Floats], build: Callable[[Floats], Any]) -> None:
        self.rows_before = nodes.rows
        self._slots_R = (nodes.node_S != DELETED).nonzero()[0]
        self._nodes_R = nodes.node_S[self._slots_R].copy()
        self._vectors_RD, self._build = vectors_of(self._nodes_R), build
        self._built: Any = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="index-rebuild", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Whether it is done."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def taken(self, nodes: Nodes) -> tuple[Any, Ints, Ints]:
        """The new FAISS index, the row of each slot in it (DELETED where it changed since), and the changed slots."""
        if self._error is not None:
            raise self._error
        node_S = nodes.node_S
        rows_S = node_S.copy()
        rows_S[:] = DELETED
        same_R: Bools = node_S[self._slots_R] == self._nodes_R
        rows_S[self._slots_R[same_R]] = same_R.nonzero()[0]
        return self._built, rows_S, (node_S >= self.rows_before).nonzero()[0]

    def _run(self) -> None:
        try:
            with OneThread():
                self._built = self._build(self._vectors_RD)
        except Exception as error:
            self._error = error
        finally:
            del self._vectors_RD
