"""What every vector index can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.metrics import Bools, Floats, Ints


class Index(ABC):
    """Inner-product search over vectors that come and go under string ids.

    Slots count ids in the order they first came and are never reused. Reading is safe from several threads, writing
    is for one at a time and not beside reading.
    """

    dim: int
    """Length of a vector."""
    missing: tuple[int, ...] = ()
    """Shards that did not answer the latest search; always empty where nothing is sharded."""

    @property
    @abstractmethod
    def ids(self) -> Sequence[str]:
        """The id of each slot, deleted ones too."""

    @property
    def slots(self) -> int:
        """How many slots `allowed_S` must cover."""
        return len(self.ids)

    @abstractmethod
    def __len__(self) -> int:
        """How many ids can be found."""

    @abstractmethod
    def __contains__(self, item_id: str) -> bool: ...

    @abstractmethod
    def slot(self, item_id: str) -> int:
        """Raises KeyError for an id that was never here."""

    @abstractmethod
    def upsert(self, ids: Sequence[str], vectors_ID: Floats) -> None:
        """Put each vector under its id; the last of several with one id counts.

        Raises ValueError, and leaves all as it is, where ids and vectors do not fit.
        """

    def _fitting(self, ids: Sequence[str], vectors_ID: Floats) -> Floats:
        """The vectors as float32; raises ValueError where they are not one of `dim` numbers for each id."""
        vectors = np.asarray(vectors_ID, np.float32)
        if vectors.shape != (len(ids), self.dim):
            raise ValueError(f"{len(ids)} ids with vectors of shape {vectors.shape}; must be ({len(ids)}, {self.dim})")
        if not np.isfinite(vectors).all():
            raise ValueError("a vector is not finite")
        return vectors

    @abstractmethod
    def delete(self, item_id: str) -> None:
        """Its slot answers no more; raises KeyError for an id that was never here."""

    @abstractmethod
    def search(self, queries_BD: Floats, k: int, allowed_S: Bools | None = None) -> tuple[Ints, Floats]:
        """slots_BK and scores_BK, best first, ties by id; slot -1 and score -inf where fewer than k are allowed.

        K is k, or the number of slots where that is less. Scores are the inner products with the stored vectors, to
        the bit the same in every kind and batch.
        """

    @abstractmethod
    def vectors(self) -> Floats:
        """vectors_SD of every slot, zeros where it is deleted; a copy."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the index into `folder`; `training.indexes.registry.load_index` reads it."""
