"""One index whose rows lie in several shards, asked side by side; the answer is that of one index over all rows."""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from training.contracts.errors import ShopkeeperError
from training.indexes.config import IndexConfig
from training.indexes.growing import GrowingRows
from training.indexes.index import Index
from training.indexes.ordering import NOTHING, best_first, stacked
from training.indexes.registry import build_index
from training.indexes.shards import Change, InProcessShard, ShardPort
from training.metrics import Bools, Floats, Ints

A = TypeVar("A")
LOGGER = logging.getLogger("shopkeeper.index")


def shard_of(item_id: str, shards: int) -> int:
    """The same on every machine and in every run."""
    return zlib.crc32(item_id.encode()) % shards


def split_ids(ids: Sequence[str], shards: int) -> list[list[int]]:
    """The places in `ids` of each shard's items, in their order."""
    places: list[list[int]] = [[] for _ in range(shards)]
    for place, item_id in enumerate(ids):
        places[shard_of(item_id, shards)].append(place)
    return places


class ShardedIndex(Index):
    """Keeps the ids; the shards keep the vectors.

    A shard that fails or is late is left out of the answer, which says so in `missing`, and is asked no more until it
    says hello; it is then told what changed since it was built.
    """

    def __init__(self, ids: Sequence[str], ports: Sequence[ShardPort], *, dim: int, timeout_s: float) -> None:
        self.ports, self.dim, self.timeout_s = list(ports), dim, timeout_s
        self._ids, self._slots = list(ids), {item_id: slot for slot, item_id in enumerate(ids)}
        self._deleted: set[str] = set()
        self._slots_by_shard = [GrowingRows(np.array(places, np.int64)) for places in split_ids(ids, len(ports))]
        self._changes: list[dict[str, Change]] = [{} for _ in ports]
        self._greeted: dict[int, Future[None]] = {}
        self.missing: tuple[int, ...] = ()

    @classmethod
    def in_process(
        cls, ids: Sequence[str], vectors_ID: Floats, config: IndexConfig, *, shards: int, timeout_s: float = 10.0
    ) -> Self:
        """Shards of this process, each of the kind that its own size asks for."""
        parts = split_ids(ids, shards)
        ports = [InProcessShard(build_index([ids[n] for n in part], vectors_ID[part], config)) for part in parts]
        return cls(ids, ports, dim=vectors_ID.shape[1], timeout_s=timeout_s)

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def __len__(self) -> int:
        return len(self._ids) - len(self._deleted)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._slots and item_id not in self._deleted

    def slot(self, item_id: str) -> int:
        return self._slots[item_id]

    def upsert(self, ids: Sequence[str], vectors_ID: Floats) -> None:
        """A shard that is out learns of it when it is back."""
        news: list[dict[str, Change]] = [{} for _ in self.ports]
        for item_id, vector_D in zip(ids, self._fitting(ids, vectors_ID), strict=True):
            news[shard_of(item_id, len(self.ports))][item_id] = Change(vector_D.copy(), deleted=False)
        fresh = [item_id for item_id in dict.fromkeys(ids) if item_id not in self._slots]
        for item_id in fresh:
            self._slots[item_id] = len(self._ids)
            self._ids.append(item_id)
            self._slots_by_shard[shard_of(item_id, len(self.ports))].extend(np.array([self._slots[item_id]]))
        self._deleted.difference_update(ids)
        self._tell(news)

    def delete(self, item_id: str) -> None:
        if item_id not in self._slots:
            raise KeyError(item_id)
        self._deleted.add(item_id)
        shard = shard_of(item_id, len(self.ports))
        known = self._changes[shard].get(item_id, Change(None, deleted=False))
        news: list[dict[str, Change]] = [{} for _ in self.ports]
        news[shard][item_id] = known._replace(deleted=True)
        self._tell(news)

    def search(self, queries_BD: Floats, k: int, allowed_S: Bools | None = None) -> tuple[Ints, Floats]:
        if allowed_S is not None and len(allowed_S) != self.slots:
            raise ValueError(f"allowed_S covers {len(allowed_S)} of {self.slots} slots")
        asked = {
            shard: self.ports[shard].search(
                queries_BD, k, None if allowed_S is None else allowed_S[self._slots_by_shard[shard].rows]
            )
            for shard in self._up()
        }
        found = self._answers(asked)
        self.missing = tuple(shard for shard in range(len(self.ports)) if shard not in found)
        return self._merged(found, len(queries_BD), min(k, self.slots))

    def vectors(self) -> Floats:
        raise ShopkeeperError("the vectors of a sharded index stay in its shards")

    def save(self, folder: Path) -> None:
        raise ShopkeeperError(f"{folder}: a sharded index is made from a saved one and is not saved itself")

    def _tell(self, news: Sequence[dict[str, Change]]) -> None:
        """Keep what changed, and wait until every shard that is up has it."""
        up, told = self._up(), dict[int, Future[None]]()
        for shard, changes in enumerate(news):
            self._changes[shard].update(changes)
            if changes and shard in up:
                told[shard] = self.ports[shard].change(changes)
        self._answers(told)

    def _up(self) -> list[int]:
        """The shards to ask now. One that was lost and says hello is told all changes first; its calls keep order."""
        for shard, hello in list(self._greeted.items()):
            if not hello.done():
                continue
            if hello.exception() is not None:
                self._greeted[shard] = self.ports[shard].hello()
            else:
                del self._greeted[shard]
                self.ports[shard].change(self._changes[shard])
        return [shard for shard in range(len(self.ports)) if shard not in self._greeted]

    def _answers(self, asked: dict[int, Future[A]]) -> dict[int, A]:
        """By shard, all within one deadline; a shard without an answer counts as lost from then on."""
        deadline_s, found = time.monotonic() + self.timeout_s, dict[int, A]()
        for shard, answer in asked.items():
            try:
                found[shard] = answer.result(max(deadline_s - time.monotonic(), 0.0))
            except Exception as error:
                # Whatever befell the shard, the others answer.
                LOGGER.warning("index shard %d is out", shard, exc_info=error)
                self._greeted[shard] = self.ports[shard].hello()
        return found

    def _merged(self, found: dict[int, tuple[Ints, Floats]], rows: int, k: int) -> tuple[Ints, Floats]:
        return stacked([self._merged_row(found, row, k) for row in range(rows)], k)

    def _merged_row(self, found: dict[int, tuple[Ints, Floats]], row: int, k: int) -> tuple[Ints, Floats]:
        slots, scores = [[part] for part in NOTHING]
        for shard, (slots_BK, scores_BK) in found.items():
            real = slots_BK[row] >= 0
            slots.append(self._slots_by_shard[shard].rows[slots_BK[row][real]])
            scores.append(scores_BK[row][real])
        return best_first(np.concatenate(slots), np.concatenate(scores), self._ids, k)
