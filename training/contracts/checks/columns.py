"""Columns against their canonical type: unknown, absent, of the wrong type, null, not finite, not UTF-8."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.checks.findings import Findings, scalar_text
from training.contracts.errors import Problem, nearest
from training.contracts.tables import TableSpec

MAX_ID_CHARACTERS = 256


def check_schema(spec: TableSpec, found: pa.Schema, file: str, findings: Findings) -> set[str]:
    """Names unknown, repeated and absent columns; returns the columns whose values can be read."""
    names = spec.schema.names
    for name in dict.fromkeys(found.names):
        if name not in names and not spec.open_columns:
            findings.add(
                Problem(table=spec.name, column=name, file=file, problem="unknown column", allowed=", ".join(names),
                        nearest=nearest(name, names))
            )  # fmt: skip
        if found.names.count(name) > 1:
            findings.add(Problem(table=spec.name, column=name, file=file, problem="column given twice"))
    for name in spec.required:
        if name not in found.names:
            findings.add(
                Problem(table=spec.name, column=name, file=file, problem="required column is absent",
                        found=", ".join(found.names))
            )  # fmt: skip
    return {name for name in names if found.names.count(name) == 1}


def read_column(
    spec: TableSpec, column: pa.Array, field: pa.Field, first_row: int, findings: Findings
) -> pa.Array | None:
    """The column as its canonical type, or None once the row that cannot be read so is named."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        findings.add(
            Problem(table=spec.name, column=field.name, row=first_row, problem=f"damaged values from here on: {error}")
        )
        return None
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    allowed = type_words(field.type)
    if not same_kind(column.type, field.type):
        row = _first_not_castable(column, field.type)
        value = None if row is None else scalar_text(column[row])
        findings.add(
            Problem(table=spec.name, column=field.name, row=None if row is None else first_row + row,
                    problem="wrong type", found=f"{column.type}{f' {value}' if value else ''}", allowed=allowed)
        )  # fmt: skip
        return None
    try:
        return column.cast(field.type)
    except pa.ArrowException:
        row = _first_not_castable(column, field.type) or 0
        findings.add(
            Problem(table=spec.name, column=field.name, row=first_row + row, problem="value does not fit its type",
                    found=scalar_text(column[row]), allowed=allowed)
        )  # fmt: skip
        return None


def check_values(spec: TableSpec, name: str, column: pa.Array, first_row: int, findings: Findings) -> None:
    """Nulls and empty ids where none may be, ids too long, numbers that are none."""
    if name in spec.required and column.null_count:
        findings.rows(spec.name, name, "null in a required column", true_rows(column.is_null(), first_row))
    if name.endswith("_id") and pa.types.is_string(column.type):
        findings.rows(spec.name, name, "empty id", true_rows(pc.equal(column, ""), first_row))
        long = true_rows(pc.greater(pc.utf8_length(column), MAX_ID_CHARACTERS), first_row)
        findings.rows(spec.name, name, "id too long", long, allowed=f"{MAX_ID_CHARACTERS} characters")
        odd = true_rows(has_control_character(column))
        findings.rows(spec.name, name, "control character in an id", odd + first_row, found=column.take(pa.array(odd)))
    for path, values, rows in leaves(column):
        if pa.types.is_floating(values.type):
            wrong = true_rows(pc.invert(pc.is_finite(values)))
            findings.rows(
                spec.name, f"{name}{path}", "not a finite number", rows[wrong] + first_row,
                found=values.take(pa.array(wrong)), allowed="a number, or null",
            )  # fmt: skip


def has_control_character(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Which strings hold a character that is not printed, such as NUL or a line end."""
    return pc.match_substring_regex(column, r"\p{Cc}")


def true_rows(mask: pa.Array, first_row: int = 0) -> np.ndarray:
    """The rows where `mask` is true (null counts as false), counted from `first_row`."""
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False)) + first_row


def leaves(
    array: pa.Array, path: str = "", rows: np.ndarray | None = None
) -> Iterator[tuple[str, pa.Array, np.ndarray]]:
    """Every flat array inside a nested one, with its path and the row each value lies in."""
    rows = np.arange(len(array)) if rows is None else rows
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        parents = pc.list_parent_indices(array).to_numpy(zero_copy_only=False)
        yield from leaves(array.flatten(), path, rows[parents])
    elif pa.types.is_struct(array.type):
        for field, child in zip(array.type, array.flatten(), strict=True):
            yield from leaves(child, f"{path}.{field.name}", rows)
    elif not pa.types.is_map(array.type):
        yield path, array, rows


def same_kind(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of `found` may stand for `wanted`: other widths and units of the same kind, or all null."""
    if pa.types.is_null(found) or found == wanted:
        return True
    if pa.types.is_map(wanted):
        return pa.types.is_map(found) and all(
            same_kind(a, b) for a, b in ((found.key_type, wanted.key_type), (found.item_type, wanted.item_type))
        )
    if pa.types.is_list(wanted):
        lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
        return any(is_list(found) for is_list in lists) and same_kind(found.value_type, wanted.value_type)
    if pa.types.is_struct(wanted):
        return pa.types.is_struct(found) and all(
            any(part.name == field.name and same_kind(part.type, field.type) for part in found) for field in wanted
        )
    return _same_flat_kind(found, wanted)


def _same_flat_kind(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_string(wanted):
        return pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found)
    if pa.types.is_floating(wanted):
        return pa.types.is_floating(found) or pa.types.is_integer(found)
    if pa.types.is_integer(wanted):
        return pa.types.is_integer(found)
    if pa.types.is_timestamp(wanted):
        return pa.types.is_timestamp(found) or pa.types.is_date(found)
    return False


def _first_not_castable(column: pa.Array, wanted: pa.DataType) -> int | None:
    """The first row whose value cannot be read as `wanted`, or None where each can (or no cast exists)."""
    if not len(column) or _castable(column, wanted) or _uncastable_kind(column.type, wanted):
        return None
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _castable(column.slice(low, middle - low), wanted) else (low, middle)
    return low


def _uncastable_kind(found: pa.DataType, wanted: pa.DataType) -> bool:
    return not _castable(pa.array([], found), wanted)


def _castable(column: pa.Array, wanted: pa.DataType) -> bool:
    try:
        column.cast(wanted)
    except pa.ArrowException:
        return False
    return True


def type_words(type_: pa.DataType) -> str:
    """A canonical type in the words of the documentation."""
    names = {pa.string(): "string", pa.float64(): "number", pa.int64(): "whole number", pa.int32(): "whole number"}
    return names.get(type_, "UTC timestamp" if pa.types.is_timestamp(type_) else str(type_))
