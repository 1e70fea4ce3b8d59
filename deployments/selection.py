"""What may be shown: in stock, within the filter, not left out; asked of the catalogue as it is at that moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from deployments.catalogue import CatalogueView
from deployments.live import LiveShop
from deployments.policies.cursor import item_hash
from deployments.policies.filters import Filter, compile_filter


@dataclass
class Selection:
    """The hard rules of one request."""

    live: LiveShop
    filter: Filter | None = None
    excluded: set[str] = field(default_factory=set)
    hashes: frozenset[int] = frozenset()

    @classmethod
    def of(cls, live: LiveShop, filter_text: str | None) -> Selection:
        """Raises FilterError where the filter is wrong; its mask is computed once per view."""
        if filter_text is None:
            return cls(live)
        selection = cls(live, compile_filter(filter_text))
        selection.row_mask(live.view)
        return selection

    def exclude(self, item_ids: Iterable[str]) -> None:
        self.excluded.update(item_ids)

    def allowed(self, item_ids: Sequence[str]) -> list[bool]:
        """By the newest catalogue of this process."""
        view = self.live.view
        allowed = view.available(item_ids)
        if self.filter is not None:
            allowed = allowed & view.allowed(self.filter, item_ids)
        return [bool(may) and not self.left_out(item_id) for may, item_id in zip(allowed, item_ids, strict=True)]

    def row_mask(self, view: CatalogueView) -> npt.NDArray[np.bool_]:
        """Which rows of the view are in stock and within the filter; bool [rows]."""
        return view.in_stock if self.filter is None else view.in_stock & view.row_mask(self.filter)

    def left_out(self, item_id: str) -> bool:
        """Whether the request itself excludes the item."""
        return item_id in self.excluded or (bool(self.hashes) and item_hash(item_id) in self.hashes)
