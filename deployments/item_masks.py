"""Which slots of an index may be shown now, where each slot is of an item and several may be of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deployments.catalogue import CatalogueView
from deployments.live import LiveShop
from deployments.selection import Selection
from training.metrics import Bools, Ints


class ItemMasks:
    """Where each slot's item stands in the catalogue is looked up once per state of both. One caller at a time."""

    def __init__(self, live: LiveShop) -> None:
        self.live = live
        self._rows: dict[int, tuple[CatalogueView, Sequence[str], Ints]] = {}

    def allowed(self, filter_text: str | None, slot_items: Sequence[str]) -> Bools | None:
        """allowed_S of items in stock and within the filter; `slot_items` is a sequence that only ever grows.

        None, for all of them, in a shop that never had a catalogue: it shows whatever its pictures are labelled with.
        """
        view = self.live.view
        if view.seq == 0 and filter_text is None:
            return None
        rows_S = self._rows_of(view, slot_items)
        allowed_S: Bools = (rows_S >= 0) & np.append(Selection.of(self.live, filter_text).row_mask(view), False)[rows_S]
        return allowed_S

    def _rows_of(self, view: CatalogueView, slot_items: Sequence[str]) -> Ints:
        """The row of each slot's item, -1 where the catalogue has none."""
        known_view, known_items, rows_S = self._rows.get(id(slot_items), (None, None, np.zeros(0, np.int64)))
        if known_view is not view or known_items is not slot_items:
            rows_S = np.zeros(0, np.int64)
        if len(rows_S) < len(slot_items):
            rows_S = np.concatenate([rows_S, view.rows(slot_items[len(rows_S) :])])
            self._rows[id(slot_items)] = (view, slot_items, rows_S)
        return rows_S
