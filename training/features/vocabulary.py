"""Item ids as integer codes, inside features and models only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.atomic import write_json

UNKNOWN = -1
FEATURES_FILE = "features.json"
"""Where a recommender's bundle keeps its vocabulary."""

Codes = npt.NDArray[np.int32]


class Vocabulary:
    """item_id -> code 0..I-1, in the order of item_id, so that ties by code are ties by item_id."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids: list[str] = sorted(set(ids))
        self._codes = {item_id: code for code, item_id in enumerate(self.ids)}
        self._values = pa.array(self.ids, pa.string())

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._codes

    def encode(self, ids: Sequence[str] | pa.Array | pa.ChunkedArray) -> Codes:
        """The codes of `ids`, UNKNOWN (-1) for an id that is not here or null."""
        if isinstance(ids, pa.Array | pa.ChunkedArray):
            found = pc.fill_null(pc.index_in(ids, value_set=self._values, skip_nulls=True), UNKNOWN)
            return np.asarray(found, dtype=np.int32)
        return np.fromiter((self._codes.get(item_id, UNKNOWN) for item_id in ids), np.int32, count=len(ids))

    def decode(self, codes: Iterable[int]) -> list[str]:
        return [self.ids[code] for code in codes]

    def save(self, path: Path) -> None:
        write_json(path, {"item_ids": self.ids})

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        return cls(json.loads(path.read_text(encoding="utf-8"))["item_ids"])
