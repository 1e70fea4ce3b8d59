"""Arrow columns from numpy arrays, without Python loops over rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.tables import STRING_MAP, TIMESTAMP


def ids(prefix: str, numbers: np.ndarray, width: int = 6) -> pa.Array:
    """`prefix` and each number, zero-padded to `width`."""
    digits = pc.utf8_lpad(pa.array(numbers, pa.int64()).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(prefix, digits, "")


def ids_or_null(prefix: str, numbers: np.ndarray, width: int = 6) -> pa.Array:
    """As `ids`, null where the number is negative."""
    return pc.if_else(pa.array(numbers >= 0), ids(prefix, np.maximum(numbers, 0), width), pa.scalar(None, pa.string()))


def words(vocabulary: Sequence[str], codes: np.ndarray) -> pa.Array:
    """The word of each code; null where the code is negative."""
    indices = pa.array(np.maximum(codes, 0), pa.int32(), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(vocabulary), pa.string())).cast(pa.string())


def times(microseconds: np.ndarray) -> pa.Array:
    return pa.array(microseconds.astype(np.int64)).cast(TIMESTAMP)


def floats(values: np.ndarray) -> pa.Array:
    """float64 with NaN as null."""
    return pa.array(values.astype(np.float64), mask=np.isnan(values))


def string_map(columns: dict[str, pa.Array]) -> pa.Array:
    """A map column with the same keys in every row."""
    rows = len(next(iter(columns.values())))
    width = len(columns)
    stacked = pa.concat_arrays([array.cast(pa.string()) for array in columns.values()])
    order = np.arange(rows * width).reshape(width, rows).T.ravel()
    keys = words(list(columns), np.tile(np.arange(width), rows))
    return pa.MapArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * width, keys, stacked.take(order)).cast(
        STRING_MAP
    )


def lists(offsets: np.ndarray, values: pa.Array) -> pa.Array:
    """A list column: row r holds values[offsets[r]:offsets[r + 1]]."""
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
