"""The live catalogue in memory: what a replica filters by, kept up to date from the store's log."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa

from deployments.policies.filters import Filter
from deployments.state.records import CatalogueEntry, Row
from deployments.state.store import Store
from training.contracts.tables import TABLES, conform

MAX_CHUNKS = 32
MAX_OUTDATED_SHARE = 0.25
MAX_CACHED_MASKS = 256
PAGE_ITEMS = 5_000
POLL_S = 0.1
LOGGER = logging.getLogger("shopkeeper.catalogue")

_ITEMS = TABLES["items"]


@dataclass(frozen=True)
class CatalogueView:
    """The catalogue as it stood at `seq`; never changes, so one request sees one catalogue.

    `table` is an items table that may hold outdated rows; `alive` (bool [rows]) says which count, `row_of` where each
    item's row is.
    """

    seq: int
    table: pa.Table
    alive: np.ndarray
    row_of: dict[str, int]
    _masks: OrderedDict[str, np.ndarray] = field(default_factory=OrderedDict, repr=False)

    def __len__(self) -> int:
        return len(self.row_of)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self.row_of

    @cached_property
    def in_stock(self) -> np.ndarray:
        """bool [rows]: alive and its stock unknown or above zero."""
        return self.alive & (self.table.column("stock").fill_null(1).to_numpy() > 0)

    def item(self, item_id: str) -> Row | None:
        """The item's row without its null columns."""
        row = self.row_of.get(item_id)
        if row is None:
            return None
        (found,) = self.table.slice(row, 1).to_pylist(maps_as_pydicts="lossy")
        return {name: value for name, value in found.items() if value is not None}

    def rows(self, item_ids: Sequence[str]) -> np.ndarray:
        """Row of each item in `table`, -1 for an unknown one; int64 [ids]."""
        return np.fromiter((self.row_of.get(item_id, -1) for item_id in item_ids), np.int64, len(item_ids))

    def available(self, item_ids: Sequence[str]) -> np.ndarray:
        """Which of these exist and are not sold out; bool [ids]."""
        return self._at(self.in_stock, item_ids)

    def allowed(self, filter_: Filter, item_ids: Sequence[str]) -> np.ndarray:
        """Which of these exist and match; bool [ids]."""
        return self._at(self.row_mask(filter_), item_ids)

    def holds_mask(self, text: str) -> bool:
        """Whether the mask of this filter is known already."""
        return text in self._masks

    def row_mask(self, filter_: Filter) -> np.ndarray:
        """Which rows count and match; bool [rows]."""
        found = self._masks.get(filter_.text)
        if found is None:
            found = filter_.mask(self.table) & self.alive
            self._masks[filter_.text] = found
            if len(self._masks) > MAX_CACHED_MASKS:
                self._masks.popitem(last=False)
        return found

    def _at(self, by_row: np.ndarray, item_ids: Sequence[str]) -> np.ndarray:
        rows = self.rows(item_ids)
        return by_row[rows] & (rows >= 0) if len(by_row) else np.zeros(len(rows), bool)


class Catalogue:
    """Holds the newest view. Changes add a small piece to the table; now and then the pieces are put together."""

    def __init__(self) -> None:
        empty = conform(_ITEMS.schema.empty_table(), _ITEMS)
        self.view = CatalogueView(0, empty, np.zeros(0, bool), {})

    @property
    def seq(self) -> int:
        return self.view.seq

    def apply(self, entries: Sequence[CatalogueEntry]) -> None:
        """Take the next entries of the log, oldest first; those up to `seq` are known and change nothing."""
        old = self.view
        news = {entry.item_id: entry.item for entry in entries if entry.seq > old.seq}
        if not news:
            return
        rows = [item for item in news.values() if item is not None]
        piece = conform(pa.Table.from_pylist(rows, schema=_nullable_items()), _ITEMS)
        alive = np.concatenate([old.alive, np.ones(len(rows), bool)])
        row_of = dict(old.row_of)
        for item_id in news:
            if (row := row_of.pop(item_id, None)) is not None:
                alive[row] = False
        row_of.update((item["item_id"], len(old.table) + step) for step, item in enumerate(rows))
        table = pa.concat_tables([part for part in (old.table, piece) if len(part)] or [old.table])
        self.view = _compact(CatalogueView(max(entry.seq for entry in entries), table, alive, row_of))


class CatalogueTail:
    """Keeps a catalogue at most one poll behind the store's log, in a thread of its own."""

    def __init__(self, store: Store, catalogue: Catalogue, *, poll_s: float = POLL_S) -> None:
        self.catalogue = catalogue
        self.synced_at = 0.0
        self._store = store
        self._poll_s = poll_s
        self._stopping = threading.Event()
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="catalogue-tail", daemon=True)

    @property
    def lag_s(self) -> float:
        """Seconds since the catalogue was last known to be level with the store."""
        return time.monotonic() - self.synced_at

    def start(self) -> None:
        """Read the whole log, then follow it. Raises StoreUnavailable where it cannot be read."""
        self.catch_up()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def catch_up(self) -> None:
        """Apply everything the log holds now."""
        asked_at = time.monotonic()
        while entries := self._store.catalogue_since(self.catalogue.seq, limit=PAGE_ITEMS):
            self.catalogue.apply(entries)
            with self._moved:
                self._moved.notify_all()
        self.synced_at = asked_at

    def wait_for(self, seq: int, *, timeout_s: float) -> bool:
        """Whether the catalogue has reached `seq` within the time given."""
        with self._moved:
            return self._moved.wait_for(lambda: self.catalogue.seq >= seq, timeout_s)

    def _run(self) -> None:
        failing = False
        while not self._stopping.wait(self._poll_s):
            try:
                self.catch_up()
                failing = False
            except Exception:
                # Whatever went wrong may pass; the lag says that it has not yet.
                if not failing:
                    LOGGER.exception("the catalogue cannot be followed; it is tried again")
                failing = True


def _nullable_items() -> pa.Schema:
    return pa.schema([column.with_nullable(True) for column in _ITEMS.schema])


def _compact(view: CatalogueView) -> CatalogueView:
    """The same view in one piece once it has many pieces, and without outdated rows once it has many of those."""
    outdated = len(view.alive) - len(view.row_of)
    if outdated > MAX_OUTDATED_SHARE * len(view.alive) + 1:
        table = view.table.filter(pa.array(view.alive)).combine_chunks()
        row_of = {item_id: row for row, item_id in enumerate(table.column("item_id").to_pylist())}
        return CatalogueView(view.seq, table, np.ones(len(row_of), bool), row_of)
    if view.table.column("item_id").num_chunks > MAX_CHUNKS:
        return CatalogueView(view.seq, view.table.combine_chunks(), view.alive, view.row_of)
    return view
