"""Which slots of a recommender may be shown now: the live catalogue, laid over the slots."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from deployments.live import LiveShop
from deployments.messages import RetrievalQuery
from deployments.policies.cursor import item_hash
from deployments.policies.filters import compile_filter
from training.models.recommender import Recommender

Bools = npt.NDArray[np.bool_]
CACHED_FILTERS = 64


class SlotMasks:
    """bool [slots] masks; computed once per state of the catalogue and filter. One caller at a time."""

    def __init__(self, recommender: Recommender, live: LiveShop) -> None:
        self.recommender, self.live = recommender, live
        self._key: tuple[int, int] | None = None
        self._ids: list[str] = []
        self._masks: OrderedDict[str | None, Bools] = OrderedDict()
        self._hashes_S = np.zeros(0, np.uint32)

    def allowed(self, query: RetrievalQuery) -> Bools:
        """In stock, within the query's filter, none of what it excludes; a mask of its own."""
        self._keep_up()
        allowed_S = self._by_filter(query.filter).copy()
        allowed_S[self._places(query.excluded)] = False
        if query.excluded_hashes:
            allowed_S &= ~np.isin(self._hashes(), np.array(list(query.excluded_hashes), np.uint32))
        return allowed_S

    def only(self, item_ids: Iterable[str]) -> Bools:
        """Just these, whatever their stock."""
        self._keep_up()
        mask_S = np.zeros(len(self._ids), np.bool_)
        mask_S[self._places(item_ids)] = True
        return mask_S

    def _keep_up(self) -> None:
        key = (id(self.live.view), len(self.recommender))
        if key != self._key:
            self._view = self.live.view
            self._ids = self.recommender.item_ids[: key[1]]
            self._key = (id(self._view), len(self._ids))
            self._masks.clear()

    def _by_filter(self, text: str | None) -> Bools:
        mask_S = self._masks.get(text)
        if mask_S is None:
            mask_S = self._view.available(self._ids)
            if text is not None:
                mask_S = mask_S & self._view.allowed(compile_filter(text), self._ids)
            self._masks[text] = mask_S
            if len(self._masks) > CACHED_FILTERS:
                self._masks.popitem(last=False)
        return mask_S

    def _places(self, item_ids: Iterable[str]) -> list[int]:
        slots = (self.recommender.slot(item_id) for item_id in item_ids)
        return [slot for slot in slots if slot is not None and slot < len(self._ids)]

    def _hashes(self) -> npt.NDArray[np.uint32]:
        if len(self._hashes_S) != len(self._ids):
            self._hashes_S = np.fromiter(map(item_hash, self._ids), np.uint32, len(self._ids))
        return self._hashes_S
