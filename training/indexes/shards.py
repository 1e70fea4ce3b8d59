"""One shard of a sharded index: what it is told and asked, and the way to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Self

import numpy as np

from training.indexes.index import Index
from training.metrics import Bools, Floats, Ints


class Change(NamedTuple):
    """What became of an id since its shard was built: its new vector, if it got one, and whether it is deleted."""

    vector_D: Floats | None
    deleted: bool


class News(NamedTuple):
    """Changes of many ids, as one array; doing them twice is as doing them once."""

    upserted: list[str]
    vectors_UD: Floats
    deleted: list[str]

    @classmethod
    def of(cls, changes: Mapping[str, Change]) -> Self:
        vectors = {item_id: change.vector_D for item_id, change in changes.items() if change.vector_D is not None}
        vectors_UD = np.stack(list(vectors.values())) if vectors else np.zeros((0, 0), np.float32)
        return cls(list(vectors), vectors_UD, [item_id for item_id, change in changes.items() if change.deleted])

    def apply(self, index: Index) -> None:
        if self.upserted:
            index.upsert(self.upserted, self.vectors_UD)
        for item_id in self.deleted:
            index.delete(item_id)


class ShardPort(ABC):
    """The way to one shard, in this process or another; each call ends in a future that may fail."""

    @abstractmethod
    def search(self, queries_BD: Floats, k: int, allowed_S: Bools | None) -> Future[tuple[Ints, Floats]]:
        """As `Index.search`, in the shard's own slots."""

    @abstractmethod
    def change(self, changes: dict[str, Change]) -> Future[None]:
        """Upserts and deletions, in their order; doing them twice is as doing them once."""

    @abstractmethod
    def hello(self) -> Future[None]:
        """Answered once the shard, begun anew from its part of the bundle if it died, takes calls."""


class InProcessShard(ShardPort):
    """A shard in this process: one thread of its own."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="index-shard")

    def search(self, queries_BD: Floats, k: int, allowed_S: Bools | None) -> Future[tuple[Ints, Floats]]:
        return self._thread.submit(self.index.search, queries_BD, k, allowed_S)

    def change(self, changes: dict[str, Change]) -> Future[None]:
        return self._thread.submit(News.of(changes).apply, self.index)

    def hello(self) -> Future[None]:
        return self._thread.submit(lambda: None)
