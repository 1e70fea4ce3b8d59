"""The parts of a filter: each says for a table which rows match, and for one item whether it does.

Truth has two values: a comparison with null, a missing attribute or the literal null is false, `!=` included, and so
`not (brand = 'A')` holds for an item without brand while `brand != 'A'` does not. On a list `=` and `in` ask whether
it contains the value, `!=` whether it does not.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.tables import TIMESTAMP

PAIRS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))
Value = str | float | datetime
OPERATORS: dict[str, tuple[Callable[..., Any], Callable[[Any, Any], bool]]] = {
    "=": (pc.equal, operator.eq),
    "!=": (pc.not_equal, operator.ne),
    "<": (pc.less, operator.lt),
    "<=": (pc.less_equal, operator.le),
    ">": (pc.greater, operator.gt),
    ">=": (pc.greater_equal, operator.ge),
}


class Node(Protocol):
    """A boolean expression; `depth` is the longest way down to a comparison."""

    @property
    def depth(self) -> int: ...

    def mask(self, table: pa.Table) -> np.ndarray:
        """bool [rows of `table`], an items table."""

    def matches(self, item: Mapping[str, Any]) -> bool:
        """The same for one row; an absent column is null."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column of the items table, or one attribute of it; `kind` is text, number, time or texts (a list)."""

    name: str
    kind: str
    attribute: str | None = None

    @property
    def label(self) -> str:
        return self.name if self.attribute is None else f"{self.name}.{self.attribute}"

    def column(self, table: pa.Table) -> pa.ChunkedArray:
        column = table.column(self.name)
        if self.attribute is not None:
            return pa.chunked_array([_looked_up(chunk, self.attribute) for chunk in column.chunks], pa.string())
        return column.cast(pa.float64(), safe=False) if self.kind == "number" else column

    def value(self, item: Mapping[str, Any]) -> Any:
        found = item.get(self.name)
        return found if self.attribute is None or found is None else found.get(self.attribute)

    def scalar(self, value: Value) -> pa.Scalar:
        return pa.scalar(value, {"number": pa.float64(), "time": TIMESTAMP}.get(self.kind, pa.string()))


@dataclass(frozen=True, slots=True)
class Comparison:
    """`field operator value`."""

    field: Field
    operator: str
    value: Value
    depth: int = 1

    def mask(self, table: pa.Table) -> np.ndarray:
        column = self.field.column(table)
        if self.field.kind == "texts":
            contains = _any_in(column, [str(self.value)])
            return contains if self.operator == "=" else _truth(column.is_valid()) & ~contains
        return _truth(OPERATORS[self.operator][0](column, self.field.scalar(self.value)))

    def matches(self, item: Mapping[str, Any]) -> bool:
        held = self.field.value(item)
        if held is None:
            return False
        if self.field.kind == "texts":
            return (self.value in held) == (self.operator == "=")
        return OPERATORS[self.operator][1](held, self.value)


@dataclass(frozen=True, slots=True)
class Membership:
    """`field in (values)`."""

    field: Field
    values: tuple[Value, ...]
    depth: int = 1

    def mask(self, table: pa.Table) -> np.ndarray:
        column = self.field.column(table)
        if self.field.kind == "texts":
            return _any_in(column, [str(value) for value in self.values])
        if self.field.kind == "number":
            return np.isin(column.fill_null(np.nan).to_numpy(), np.array(self.values, np.float64))
        allowed = pa.array(self.values, column.type)
        return _truth(pc.is_in(column, value_set=allowed, skip_nulls=True))

    def matches(self, item: Mapping[str, Any]) -> bool:
        held = self.field.value(item)
        if held is None:
            return False
        return any(value in self.values for value in (held if self.field.kind == "texts" else (held,)))


@dataclass(frozen=True, slots=True)
class Never:
    """A comparison with the literal null."""

    depth: int = 1

    def mask(self, table: pa.Table) -> np.ndarray:
        return np.zeros(table.num_rows, bool)

    def matches(self, item: Mapping[str, Any]) -> bool:  # noqa: ARG002
        return False


@dataclass(frozen=True, slots=True)
class Not:
    part: Node

    @property
    def depth(self) -> int:
        return self.part.depth + 1

    def mask(self, table: pa.Table) -> np.ndarray:
        return ~self.part.mask(table)

    def matches(self, item: Mapping[str, Any]) -> bool:
        return not self.part.matches(item)


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Node, ...]
    depth: int

    def mask(self, table: pa.Table) -> np.ndarray:
        return reduce(np.logical_and, (part.mask(table) for part in self.parts))

    def matches(self, item: Mapping[str, Any]) -> bool:
        return all(part.matches(item) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Either:
    parts: tuple[Node, ...]
    depth: int

    def mask(self, table: pa.Table) -> np.ndarray:
        return reduce(np.logical_or, (part.mask(table) for part in self.parts))

    def matches(self, item: Mapping[str, Any]) -> bool:
        return any(part.matches(item) for part in self.parts)


def _truth(answers: pa.ChunkedArray) -> np.ndarray:
    """Null is false."""
    return np.asarray(answers.fill_null(False).to_numpy(), dtype=bool)


def _any_in(lists: pa.ChunkedArray, values: list[str]) -> np.ndarray:
    """Whether each list holds one of `values`; bool [rows]."""
    hits, allowed = [], pa.array(values, pa.string())
    for chunk in lists.chunks:
        hit = np.zeros(len(chunk), bool)
        found = pc.is_in(pc.list_flatten(chunk), value_set=allowed, skip_nulls=True)
        hit[pc.list_parent_indices(chunk).filter(found).to_numpy(zero_copy_only=False)] = True
        hits.append(hit)
    return np.concatenate(hits) if hits else np.zeros(0, bool)


def _looked_up(maps: pa.MapArray, name: str) -> pa.StringArray:
    """The value under `name` in each map, null where there is none; seven times as fast as pc.map_lookup."""
    lists = maps.cast(PAIRS)
    pairs, rows = pc.list_flatten(lists), pc.list_parent_indices(lists)
    named = pc.equal(pc.struct_field(pairs, "key"), name)
    rows_named = rows.filter(named).to_numpy()
    place = np.full(len(maps), -1)
    place[rows_named] = np.arange(len(rows_named))
    return pc.struct_field(pairs, "value").filter(named).take(pa.array(place, mask=place < 0))
