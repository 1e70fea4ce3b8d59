"""The order of ids as numbers, kept while ids go on coming."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from training.indexes.growing import GrowingRows
from training.metrics import Ints

STEP = 2**20
BOUND = 2**62
RESORT_SHARE = 100
"""More new ids than this part of all are sorted together with them."""


class IdOrder:
    """`keys_S[slot]` sorts as the ids do. A new id gets a number between its neighbours'; numbers change rarely."""

    def __init__(self, ids: Sequence[str] = ()) -> None:
        self._sorted: list[str] = []
        self._slots: list[int] = []
        self._keys_S = GrowingRows(np.zeros(0, np.int64))
        self.extend(ids)

    @property
    def keys_S(self) -> Ints:
        return self._keys_S.rows

    def extend(self, ids: Sequence[str]) -> None:
        """Ids never given before; their slots follow those that are there."""
        first = len(self._sorted)
        self._keys_S.grow(len(ids))
        if len(ids) * RESORT_SHARE > first:
            self._resort(ids, first)
            return
        for slot, item_id in enumerate(ids, first):
            self._insert(item_id, slot)

    def _resort(self, ids: Sequence[str], first: int) -> None:
        slots, names = [*self._slots, *range(first, first + len(ids))], [*self._sorted, *ids]
        order = sorted(range(len(names)), key=names.__getitem__)
        self._sorted, self._slots = [names[place] for place in order], [slots[place] for place in order]
        self._number()

    def _insert(self, item_id: str, slot: int) -> None:
        place = bisect_left(self._sorted, item_id)
        low, high = self._key_at(place - 1), self._key_at(place)
        self._sorted.insert(place, item_id)
        self._slots.insert(place, slot)
        if high - low < 2:
            self._number()
        else:
            self._keys_S.rows[slot] = low + min(STEP, (high - low) // 2)

    def _key_at(self, place: int) -> int:
        if place < 0:
            return -BOUND
        return int(self._keys_S.rows[self._slots[place]]) if place < len(self._slots) else BOUND

    def _number(self) -> None:
        """Evenly spread."""
        count = len(self._slots)
        self._keys_S.rows[self._slots] = np.arange(1, count + 1) * (BOUND // (count + 1))
