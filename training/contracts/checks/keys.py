"""Keys of tables larger than memory: repeated rows and references to rows that are not there, by 64-bit hashes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_MIX = np.uint64(0x9E3779B97F4A7C15)


class Hashes:
    """One 64-bit hash per value of a column, or per row of a key, seen so far (8 bytes each)."""

    def __init__(self) -> None:
        self._pieces: list[np.ndarray] = []

    def add(self, columns: Sequence[pa.Array]) -> None:
        self._pieces.append(hashes(columns))

    def all(self) -> np.ndarray:
        return np.concatenate(self._pieces) if self._pieces else np.array([], np.uint64)

    def repeats(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows (from 0) whose hash an earlier row has, and the first such row of each."""
        values = self.all()
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        again = np.r_[False, ordered[1:] == ordered[:-1]] if len(values) else np.array([], bool)
        starts = np.flatnonzero(~again)
        firsts = order[np.repeat(starts, np.diff(np.r_[starts, len(values)]))][again] if len(values) else order
        rows = order[again]
        by_row = np.argsort(rows)
        return rows[by_row], firsts[by_row]


def hashes(columns: Sequence[pa.Array]) -> np.ndarray:
    """A hash per row over all columns; null is a value of its own."""
    combined = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        if pa.types.is_string(column.type):
            values = pc.fill_null(column, "\0null").to_numpy(zero_copy_only=False)
            part = pd.util.hash_array(values.astype(object), categorize=False)
        else:
            part = pd.util.hash_array(pc.fill_null(column.cast(pa.int64()), -1).to_numpy(zero_copy_only=False))
        combined = (combined ^ part) * _MIX
        combined ^= combined >> np.uint64(29)
    return combined
