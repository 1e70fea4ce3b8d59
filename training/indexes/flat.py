"""Exact inner-product search over item vectors that come and go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np

from training.contracts.atomic import write_json
from training.metrics import Bools, Floats, Ints

INDEX_FILE = "flat.faiss"
IDS_FILE = "flat.json"


class FlatIndex:
    """FAISS's flat index; slot n holds the vector of `ids[n]`, or nothing once it was deleted.

    Ties go to the smaller id. Reading is safe from several threads, writing is for one at a time.
    """

    def __init__(self, dim: int) -> None:
        self._index: Any = faiss.IndexFlatIP(dim)
        self._slots: dict[str, int] = {}
        self._ids: list[str] = []
        self._live = np.zeros(0, np.bool_)

    @classmethod
    def build(cls, ids: Sequence[str], vectors_ID: Floats) -> Self:
        index = cls(vectors_ID.shape[1])
        index.upsert(ids, vectors_ID)
        return index

    def __len__(self) -> int:
        return int(self._live.sum())

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._slots and bool(self._live[self._slots[item_id]])

    @property
    def slots(self) -> int:
        """How many slots `allowed` must cover."""
        return len(self._ids)

    def slot(self, item_id: str) -> int:
        """Raises KeyError for an id that was never here."""
        return self._slots[item_id]

    def upsert(self, ids: Sequence[str], vectors_ID: Floats) -> None:
        """Put each vector under its id, in place where the id is already there."""
        fresh: dict[str, int] = {}
        for row, item_id in enumerate(ids):
            if item_id in self._slots:
                self._overwrite(self._slots[item_id], vectors_ID[row])
            else:
                fresh[item_id] = row
        if fresh:
            self._index.add(np.ascontiguousarray(vectors_ID[list(fresh.values())], np.float32))
            self._slots.update({item_id: len(self._ids) + place for place, item_id in enumerate(fresh)})
            self._ids.extend(fresh)
            self._live = np.concatenate([self._live, np.ones(len(fresh), np.bool_)])

    def _overwrite(self, slot: int, vector_D: Floats) -> None:
        stored_ND = faiss.rev_swig_ptr(self._index.get_xb(), self._index.ntotal * self._index.d)
        stored_ND[slot * self._index.d : (slot + 1) * self._index.d] = vector_D
        self._live[slot] = True

    def delete(self, item_id: str) -> None:
        """Its slot answers no more; raises KeyError for an id that was never here."""
        self._live[self._slots[item_id]] = False

    def vectors(self) -> Floats:
        """vectors_SD of every slot, deleted ones too."""
        return np.asarray(self._index.reconstruct_n(0, self._index.ntotal))

    def search(self, queries_BD: Floats, k: int, allowed_S: Bools | None = None) -> tuple[Ints, Floats]:
        """slots_BK and scores_BK, best first, ties by id; slot -1 and score -inf where fewer than k are allowed."""
        live = self._live if allowed_S is None else self._live & allowed_S
        count = int(live.sum())
        k = min(k, self.slots)
        # FAISS breaks ties as it likes: fetch beyond k until the k-th score is clearly above what was left out.
        fetch = min(k + 8, count)
        while True:
            scores_BF, slots_BF = self._search(queries_BD, fetch, live)
            if fetch == count or not fetch or bool((scores_BF[:, min(k, fetch) - 1] > scores_BF[:, -1]).all()):
                break
            fetch = min(2 * fetch + 8, count)
        slots_BK = np.full((len(queries_BD), k), -1, np.int64)
        scores_BK = np.full((len(queries_BD), k), -np.inf, np.float32)
        for row in range(len(queries_BD)):
            order = sorted(range(fetch), key=lambda n: (-scores_BF[row, n], self._ids[slots_BF[row, n]]))[:k]
            slots_BK[row, : len(order)], scores_BK[row, : len(order)] = slots_BF[row, order], scores_BF[row, order]
        return slots_BK, scores_BK

    def _search(self, queries_BD: Floats, fetch: int, live_S: Bools) -> tuple[Floats, Ints]:
        if not fetch:
            return np.zeros((len(queries_BD), 0), np.float32), np.zeros((len(queries_BD), 0), np.int64)
        queries = np.ascontiguousarray(queries_BD, np.float32)
        if live_S.all():
            return self._index.search(queries, fetch)
        bitmap = np.packbits(live_S, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(live_S), faiss.swig_ptr(bitmap))
        chosen = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        return self._index.search(queries, fetch, params=chosen)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        faiss.write_index(self._index, str(folder / INDEX_FILE))
        write_json(folder / IDS_FILE, {"ids": self._ids, "deleted": np.flatnonzero(~self._live).tolist()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        stored = faiss.read_index(str(folder / INDEX_FILE))
        document = json.loads((folder / IDS_FILE).read_text(encoding="utf-8"))
        index = cls(stored.d)
        index._index = stored
        index._ids = document["ids"]
        index._slots = {item_id: slot for slot, item_id in enumerate(index._ids)}
        index._live = np.ones(len(index._ids), np.bool_)
        index._live[document["deleted"]] = False
        return index
