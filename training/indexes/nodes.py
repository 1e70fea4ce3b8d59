"""Which row of a FAISS index holds which slot; FAISS only appends, so what changed leaves a dead row behind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from training.indexes.growing import GrowingRows
from training.indexes.native import faiss
from training.metrics import Bools, Ints

DELETED = -1


class Choice:
    """The rows that a search may return: `count` of them; `mask_N` None where that is every row."""

    def __init__(self, count: int, mask_N: Bools | None) -> None:
        self.count, self.mask_N = count, mask_N

    @cached_property
    def selector(self) -> Any:
        """For FAISS; None where every row may be returned."""
        if self.mask_N is None:
            return None
        self._bitmap = np.packbits(self.mask_N, bitorder="little")
        return faiss.IDSelectorBitmap(len(self.mask_N), faiss.swig_ptr(self._bitmap))

    @cached_property
    def nodes(self) -> Ints:
        """The rows themselves; only where there is a mask."""
        assert self.mask_N is not None
        return np.flatnonzero(self.mask_N)


class Nodes:
    """Ids, their slots and rows. A slot has at most one live row; rows below `_aligned` have the slot's number."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.dead = 0
        self._slots: dict[str, int] = {}
        self._node_S = GrowingRows(np.zeros(0, np.int64))
        self._slot_N = GrowingRows(np.zeros(0, np.int64))
        self._alive_N = GrowingRows(np.zeros(0, np.bool_))
        self._aligned = 0
        self._everything: Choice | None = None

    @classmethod
    def restored(cls, ids: list[str], node_S: Ints, rows: int) -> Nodes:
        """From `ids` and the row of each slot, in an index of `rows` rows; raises ValueError where they misfit."""
        live_S = node_S != DELETED
        held = node_S[live_S]
        if len(ids) != len(node_S) or len(set(ids)) != len(ids):
            raise ValueError("an id is there twice")
        within = not len(held) or bool(0 <= held.min() <= held.max() < rows)
        if len(np.unique(held)) != len(held) or not within or (rows and not ids):
            raise ValueError(f"rows are named that the {rows} vectors do not have")
        nodes = cls()
        nodes.ids, nodes._slots = ids, {item_id: slot for slot, item_id in enumerate(ids)}
        nodes._node_S.extend(node_S)
        # A dead row is as good as aligned.
        nodes._extend_rows(np.minimum(np.arange(rows), len(ids) - 1))
        nodes._slot_N.rows[held] = np.flatnonzero(live_S)
        nodes._alive_N.rows[:] = False
        nodes._alive_N.rows[held] = True
        nodes.dead = rows - len(held)
        nodes._align()
        return nodes

    def __len__(self) -> int:
        return self.rows - self.dead

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._slots and bool(self._node_S.rows[self._slots[item_id]] != DELETED)

    @property
    def rows(self) -> int:
        return len(self._slot_N)

    @property
    def node_S(self) -> Ints:
        """The row of each slot, DELETED where there is none."""
        return self._node_S.rows

    def slot(self, item_id: str) -> int:
        return self._slots[item_id]

    def slots_of(self, nodes_K: Ints) -> Ints:
        return nodes_K if self._aligned == self.rows else self._slot_N.rows[nodes_K]

    def place(self, ids: Sequence[str]) -> None:
        """The rows that are added next hold these ids, each named once."""
        fresh = [item_id for item_id in ids if item_id not in self._slots]
        self._slots.update(zip(fresh, range(len(self.ids), len(self.ids) + len(fresh)), strict=True))
        self.ids.extend(fresh)
        self._node_S.extend(np.full(len(fresh), DELETED, np.int64))
        slots_Q = np.fromiter((self._slots[item_id] for item_id in ids), np.int64, len(ids))
        self._bury(slots_Q)
        self._node_S.rows[slots_Q] = np.arange(self.rows, self.rows + len(ids))
        self._extend_rows(slots_Q)
        self._align()

    def remove(self, item_id: str) -> None:
        self._bury(np.array([self._slots[item_id]]))

    def choose(self, allowed_S: Bools | None) -> Choice:
        """The live rows of the slots allowed (None: of all)."""
        if allowed_S is None:
            self._everything = self._everything or Choice(len(self), self._alive_N.rows if self.dead else None)
            return self._everything
        if len(allowed_S) != len(self.ids):
            raise ValueError(f"allowed_S covers {len(allowed_S)} of {len(self.ids)} slots")
        mask_N = allowed_S[: self._aligned]
        if self._aligned < self.rows:
            mask_N = np.concatenate([mask_N, allowed_S[self._slot_N.rows[self._aligned :]]])
        if self.dead:
            mask_N = mask_N & self._alive_N.rows
        return Choice(int(np.count_nonzero(mask_N)), mask_N)

    def _bury(self, slots_Q: Ints) -> None:
        """The rows of these slots are dead."""
        nodes_Q = self._node_S.rows[slots_Q]
        nodes_Q = nodes_Q[nodes_Q != DELETED]
        self._alive_N.rows[nodes_Q] = False
        self._node_S.rows[slots_Q] = DELETED
        self.dead += len(nodes_Q)
        self._everything = None

    def _extend_rows(self, slots_Q: Ints) -> None:
        self._slot_N.extend(slots_Q)
        self._alive_N.extend(np.ones(len(slots_Q), np.bool_))
        self._everything = None

    def _align(self) -> None:
        """Rows once aligned stay so: a row never changes its slot."""
        rest = self._slot_N.rows[self._aligned :]
        if not len(rest) or rest[0] != self._aligned:
            return
        off = np.flatnonzero(rest != np.arange(self._aligned, self.rows))
        self._aligned += int(off[0]) if len(off) else len(rest)
