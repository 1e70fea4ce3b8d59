"""A shard in a process of its own, that may be lost and begun anew behind its caller's back."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import NamedTuple

from training.indexes.registry import load_index
from training.indexes.shards import News
from training.metrics import Bools, Floats, Ints


class ShardState(NamedTuple):
    """Which life of the shard, and how many calls of `change` it has done in it."""

    life: str
    changes: int


class MissedChanges(Exception):
    """The shard is not as its caller thinks: it began anew, or a change never came."""


class ShardHost:
    """A saved index. Whoever asks says in which state he thinks it is: one that missed a change does not answer."""

    def __init__(self, folder: str) -> None:
        self._index = load_index(Path(folder))
        self._state = ShardState(uuid.uuid4().hex, 0)

    def state(self) -> ShardState:
        return self._state

    def search(self, expected: ShardState, queries_BD: Floats, k: int, allowed_S: Bools | None) -> tuple[Ints, Floats]:
        """As `Index.search`; raises MissedChanges."""
        self._check(expected)
        return self._index.search(queries_BD, k, allowed_S)

    def change(self, expected: ShardState, news: News) -> None:
        """Raises MissedChanges."""
        self._check(expected)
        news.apply(self._index)
        self._state = self._state._replace(changes=self._state.changes + 1)

    def _check(self, expected: ShardState) -> None:
        if expected != self._state:
            raise MissedChanges(f"expected {tuple(expected)}, is {tuple(self._state)}")
