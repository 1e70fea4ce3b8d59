"""What may be shown: in stock, within the filter, not left out; asked of the catalogue as it is at that moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

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
        """Raises FilterError where the filter is wrong."""
        return cls(live, None if filter_text is None else compile_filter(filter_text))

    def exclude(self, item_ids: Iterable[str]) -> None:
        self.excluded.update(item_ids)

    def allowed(self, item_ids: Sequence[str]) -> list[bool]:
        """By the newest catalogue of this process."""
        view = self.live.view
        allowed = view.available(item_ids)
        if self.filter is not None:
            allowed = allowed & view.allowed(self.filter, item_ids)
        return [
            bool(may) and item_id not in self.excluded and (not self.hashes or item_hash(item_id) not in self.hashes)
            for may, item_id in zip(allowed, item_ids, strict=True)
        ]
