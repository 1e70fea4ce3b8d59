"""Tables of public data sets as CSV: plain or gzip, typed by us, every malformed row named by its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from training.contracts.errors import InputError, Problem, nearest, shorten

_WORDS = {pa.float64(): "a number", pa.int64(): "a whole number"}


def find_csv(folder: Path, stem: str) -> list[Path]:
    """`stem.csv`, `stem_sample.csv` and the same with .gz."""
    endings = (".csv", ".csv.gz")
    return [
        file
        for ending in endings
        for name in (stem, f"{stem}_sample")
        if (file := folder / f"{name}{ending}").is_file()
    ]


def read_csv(file: Path, columns: Mapping[str, pa.DataType], *, filled: Sequence[str] = ()) -> pa.Table:
    """The given columns of `file`, an empty field as null; times without an offset are UTC.

    Raises InputError naming the line of a row with another number of fields, of a value not of its column's type, and
    of an empty field in a column of `filled`.
    """
    text = _read_strings(file, list(columns))
    for name in filled:
        if text.column(name).null_count:
            line = pc.index(text.column(name).is_null(), True).as_py() + 2
            raise InputError(Problem(file=str(file), line=line, column=name, problem="is empty"))
    return pa.table({name: _typed(file, name, text.column(name), type_) for name, type_ in columns.items()})


def _read_strings(file: Path, columns: list[str]) -> pa.Table:
    """All columns as strings first, so that a wrong value can be named."""
    wrong: list[pacsv.InvalidRow] = []

    def keep(row: pacsv.InvalidRow) -> str:
        wrong.append(row)
        return "skip"

    try:
        # Single-threaded, because only then Arrow numbers the wrong rows.
        table = pacsv.read_csv(
            file,
            read_options=pacsv.ReadOptions(use_threads=False),
            parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=keep),
            convert_options=pacsv.ConvertOptions(
                column_types={name: pa.string() for name in columns}, strings_can_be_null=True, null_values=["", "NA"]
            ),
        )
    except (pa.ArrowException, OSError) as error:
        raise InputError(Problem(file=str(file), problem=f"cannot be read: {shorten(str(error), 200)}")) from error
    if wrong:
        row = wrong[0]
        raise InputError(
            Problem(file=str(file), line=row.number, problem="wrong number of fields",
                    found=f"{row.actual_columns}: {shorten(row.text or '')}", allowed=str(row.expected_columns))
        )  # fmt: skip
    for name in columns:
        if name not in table.column_names:
            raise InputError(
                Problem(file=str(file), line=1, column=name, problem="required column is absent",
                        found=shorten(", ".join(table.column_names)), nearest=nearest(name, table.column_names))
            )  # fmt: skip
    return table


def _typed(file: Path, name: str, text: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    try:
        return cast_text(text, type_)
    except pa.ArrowInvalid as error:
        row = _first_wrong(text, type_)
        found = shorten(text[row].as_py())
        allowed = _WORDS.get(type_, "a time like 2017-01-28 19:06:53")
        raise InputError(
            Problem(file=str(file), line=row + 2, column=name, problem="wrong value", found=found, allowed=allowed)
        ) from error


def cast_text(text: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    """Strings as values of `type_`; raises pa.ArrowInvalid for a string that is none, and for numbers not finite."""
    if pa.types.is_timestamp(type_):
        return text.cast(pa.timestamp(type_.unit)).cast(type_)
    values = text.cast(type_)
    if pa.types.is_floating(type_) and not pc.all(pc.is_finite(values)).as_py() and len(values) > values.null_count:
        raise pa.ArrowInvalid("not finite")
    return values


def _first_wrong(text: pa.ChunkedArray, type_: pa.DataType) -> int:
    """The first row that cannot be cast, by halving."""
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _castable(text[low:middle], type_) else (low, middle)
    return low


def _castable(text: pa.ChunkedArray, type_: pa.DataType) -> bool:
    try:
        cast_text(text, type_)
    except pa.ArrowInvalid:
        return False
    return True
