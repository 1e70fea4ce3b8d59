"""Arrays that grow a row at a time without being copied each time."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

A = TypeVar("A", bound=np.generic)


class GrowingRows(Generic[A]):
    """An array whose first dimension grows by doubling; `rows` is a view, good until the next growth."""

    def __init__(self, rows: npt.NDArray[A]) -> None:
        self._buffer, self._length = rows, len(rows)

    def __len__(self) -> int:
        return self._length

    @property
    def rows(self) -> npt.NDArray[A]:
        return self._buffer[: self._length]

    def extend(self, rows: npt.NDArray[A]) -> None:
        """Append a copy of `rows`."""
        self.grow(len(rows))
        self.rows[self._length - len(rows) :] = rows

    def grow(self, more: int) -> None:
        """Append `more` rows of zeros."""
        length = self._length + more
        if length > len(self._buffer):
            room = np.zeros((max(length, 2 * len(self._buffer)), *self._buffer.shape[1:]), self._buffer.dtype)
            room[: self._length] = self.rows
            self._buffer = room
        self._length = length
