"""What the kinds of index have in common: slots over FAISS rows, tombstones, and the choice of how to search."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from training.contracts.atomic import write_json
from training.indexes import files
from training.indexes.config import IndexConfig, Kind
from training.indexes.index import Index
from training.indexes.native import faiss
from training.indexes.nodes import DELETED, Choice, Nodes
from training.indexes.ordering import NOTHING, best_first, stacked
from training.indexes.rebuild import OneThread, Rebuild
from training.metrics import Bools, Floats, Ints


class FaissIndex(Index):
    """Rows of a FAISS index under ids. Deleted and overwritten rows stay until their share asks for a rebuild.

    Searches exactly where few rows are allowed, else as its kind does, reaching further until k are found.
    """

    kind: ClassVar[Kind]
    added_dims: ClassVar[int] = 0
    """Coordinates that a row holds beyond its vector's."""

    def __init__(self, dim: int, config: IndexConfig) -> None:
        self.dim, self.config = dim, config
        self._nodes = Nodes()
        self._hold(self._built(np.zeros((0, dim), np.float32)))
        self._rebuild: Rebuild | None = None

    @classmethod
    def build(cls, ids: Sequence[str], vectors_ID: Floats, config: IndexConfig = IndexConfig()) -> Self:
        """Reproducible: one thread, fixed seeds. Raises ValueError for an id that is there twice."""
        if len(set(ids)) != len(ids):
            raise ValueError("an id is there twice")
        index = cls(vectors_ID.shape[1], config)
        with OneThread():
            index._hold(index._built(np.ascontiguousarray(vectors_ID, np.float32)))
        index._nodes.place(ids)
        return index

    @abstractmethod
    def _built(self, vectors_ND: Floats) -> Any:
        """A new FAISS index of these rows; called in a thread of a rebuild too."""

    def _hold(self, rows: Any) -> None:
        self._rows, self._stored = rows, self._vectors_in(rows)

    @abstractmethod
    def _vectors_in(self, rows: Any) -> Any:
        """The FAISS index that holds the rows' vectors."""

    @abstractmethod
    def _find(self, query_1D: Floats, k: int, choice: Choice) -> tuple[Ints, Floats]:
        """At least k rows of `choice` near the query, or all there are, and their `_scores`; any order."""

    def _add(self, vectors_ND: Floats) -> None:
        """Append rows."""
        self._rows.add(np.ascontiguousarray(vectors_ND, np.float32))

    def _outgrown(self) -> bool:
        """Whether the rows are too many for the structure they were built into."""
        return False

    @property
    def ids(self) -> Sequence[str]:
        return self._nodes.ids

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._nodes

    def slot(self, item_id: str) -> int:
        return self._nodes.slot(item_id)

    def upsert(self, ids: Sequence[str], vectors_ID: Floats) -> None:
        latest, vectors = {item_id: row for row, item_id in enumerate(ids)}, self._fitting(ids, vectors_ID)
        if latest:
            with OneThread():
                self._add(vectors[list(latest.values())])
            self._nodes.place(list(latest))
        self._maintain()

    def delete(self, item_id: str) -> None:
        self._nodes.remove(item_id)
        self._maintain()

    def settle(self, timeout_s: float) -> bool:
        """Wait for a rebuild that is under way and take it; whether none is left."""
        if self._rebuild is not None and self._rebuild.wait(timeout_s):
            self._take()
        return self._rebuild is None

    def vectors(self) -> Floats:
        vectors_SD = np.zeros((self.slots, self.dim), np.float32)
        live_S = self._nodes.node_S != DELETED
        vectors_SD[live_S] = self._vectors_of(self._nodes.node_S[live_S])
        return vectors_SD

    def vectors_at(self, slots_C: Ints) -> Floats:
        """vectors_CD of some slots, none of which is deleted."""
        return self._vectors_of(self._nodes.node_S[slots_C])

    def search(self, queries_BD: Floats, k: int, allowed_S: Bools | None = None) -> tuple[Ints, Floats]:
        k, choice = min(k, self.slots), self._nodes.choose(allowed_S)
        queries = np.ascontiguousarray(queries_BD, np.float32)
        # One query at a time on one thread: an answer then depends neither on its batch nor on the number of cores.
        with OneThread():
            found = [self._search_one(queries[row : row + 1], k, choice) for row in range(len(queries))]
        return stacked(found, k)

    def _search_one(self, query_1D: Floats, k: int, choice: Choice) -> tuple[Ints, Floats]:
        k = min(k, choice.count)
        if not k:
            return NOTHING
        if choice.mask_N is not None and self._are_few(choice):
            # A copy: the caller may write into his answer.
            nodes_F, scores_F = choice.nodes.copy(), self._scores(query_1D, choice.nodes)
        else:
            nodes_F, scores_F = self._find(query_1D, k, choice)
        return best_first(self._nodes.slots_of(nodes_F), scores_F, self._nodes.ids, k)

    def _are_few(self, choice: Choice) -> bool:
        return choice.count <= max(self.config.exact_below, self.config.exact_below_share * self._nodes.rows)

    def _scores(self, query_1D: Floats, nodes_F: Ints) -> Floats:
        """Inner products with the stored vectors, each by itself: the same bits whatever stands beside it."""
        if isinstance(self._stored, faiss.IndexFlat) and not self.added_dims:
            vectors, at_F = self._stored.get_xb(), nodes_F
        else:
            copied_FD = self._vectors_of(nodes_F)
            vectors, at_F = faiss.swig_ptr(copied_FD), np.arange(len(nodes_F))
        scores_F = np.empty(len(nodes_F), np.float32)
        faiss.fvec_inner_products_by_idx(
            faiss.swig_ptr(scores_F), faiss.swig_ptr(query_1D), vectors, faiss.swig_ptr(at_F), self.dim, 1, len(at_F)
        )
        return scores_F

    def _vectors_of(self, nodes_F: Ints) -> Floats:
        rows_FD = self._stored.reconstruct_batch(np.ascontiguousarray(nodes_F))
        return np.ascontiguousarray(rows_FD[:, : self.dim])

    def _maintain(self) -> None:
        """Take a rebuild that is done; begin one where too much is dead."""
        if self._rebuild is not None:
            self.settle(0.0)
        elif self._outgrown() or self._nodes.dead > max(
            self.config.rebuild_dead_least, self.config.rebuild_dead_share * self._nodes.rows
        ):
            self._rebuild = Rebuild(self._nodes, self._vectors_of, self._built)

    def _take(self) -> None:
        rebuild, self._rebuild = self._rebuild, None
        assert rebuild is not None
        rows, node_S, changed_S = rebuild.taken(self._nodes)
        late = [self.ids[slot] for slot in changed_S]
        late_vectors = self._vectors_of(self._nodes.node_S[changed_S])
        self._nodes = Nodes.restored(self._nodes.ids, node_S, rows.ntotal)
        self._hold(rows)
        if late:
            self._add(late_vectors)
            self._nodes.place(late)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        faiss.write_index(self._rows, str(folder / files.ROWS_FILE))
        files.write_slots(folder, self.ids, self._nodes.node_S)
        sizes, config = {"dim": self.dim, "slots": self.slots}, self.config.model_dump(mode="json")
        write_json(folder / files.INDEX_FILE, {"kind": self.kind, **sizes, "config": config})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises InputError naming the file that is missing, damaged or does not fit the others."""
        rows_file, slots_file = folder / files.ROWS_FILE, folder / files.SLOTS_FILE
        document = files.read_document(folder)
        index = cls(document.dim, document.config)
        index._hold(cls._opened(files.read_rows(folder), rows_file))
        if index._rows.d != index.dim + cls.added_dims:
            raise files.misfit(rows_file, "vectors of another size", index._rows.d - cls.added_dims, index.dim)
        ids, node_S = files.read_slots(folder)
        if len(ids) != document.slots:
            raise files.misfit(slots_file, "another number of slots", len(ids), document.slots)
        try:
            index._nodes = Nodes.restored(ids, node_S, index._rows.ntotal)
        except ValueError as error:
            raise files.misfit(slots_file, str(error)) from error
        return index

    @classmethod
    @abstractmethod
    def _opened(cls, rows: Any, file: Path) -> Any:
        """What was read, as this kind needs it; raises InputError where it is of another kind."""
