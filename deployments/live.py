"""The live shop as one process sees it: the store, the catalogue that tails it, and the facts the features read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deployments.catalogue import Catalogue, CatalogueTail, CatalogueView
from deployments.state.store import Store
from training.features.item_facts import FACT_COLUMNS, ItemFacts, item_facts

MAX_LAG_S = 5.0


class LiveShop:
    """A store and a catalogue that follows it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.catalogue = Catalogue()
        self.tail = CatalogueTail(store, self.catalogue)
        self.facts = LiveFacts(self.catalogue)

    def start(self) -> None:
        """Read the catalogue, then follow it in a thread."""
        self.tail.start()

    def close(self) -> None:
        self.tail.stop()
        self.store.close()

    @property
    def view(self) -> CatalogueView:
        return self.catalogue.view

    def problem(self) -> str | None:
        """What is wrong with the catalogue; None while it keeps up with the store."""
        lag_s = self.tail.lag_s
        return f"the catalogue is {lag_s:.0f} s behind the store" if lag_s > MAX_LAG_S else None

    def age_ms(self) -> float:
        """Since the catalogue was last known to be level with the store."""
        return self.tail.lag_s * 1000


class LiveFacts(Mapping[str, ItemFacts]):
    """Facts of the items as they are now; read from the table once per version of an item."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._piece: Any = None
        self._view: CatalogueView | None = None
        self._known: dict[str, tuple[int, ItemFacts]] = {}

    def get(self, item_id: str, default: Any = None) -> Any:
        view = self.catalogue.view
        row = view.row_of.get(item_id)
        if row is None:
            return default
        if view is not self._view:
            self._turn_to(view)
        known = self._known.get(item_id)
        if known is None or known[0] != row:
            known = self._known[item_id] = (row, _facts_at(view, row))
        return known[1]

    def __getitem__(self, item_id: str) -> ItemFacts:
        facts: ItemFacts | None = self.get(item_id)
        if facts is None:
            raise KeyError(item_id)
        return facts

    def __iter__(self) -> Iterator[str]:
        return iter(self.catalogue.view.row_of)

    def __len__(self) -> int:
        return len(self.catalogue.view)

    def _turn_to(self, view: CatalogueView) -> None:
        """Rows keep their number until the table is put together anew, which is when its first piece changes."""
        column = view.table.column("item_id")
        piece = column.chunk(0).buffers()[1] if column.num_chunks else None
        if self._piece is None or piece is None or piece.address != self._piece.address:
            self._piece, self._known = piece, {}
        self._view = view


def _facts_at(view: CatalogueView, row: int) -> ItemFacts:
    return item_facts({name: view.table.column(name)[row].as_py() for name in FACT_COLUMNS})
