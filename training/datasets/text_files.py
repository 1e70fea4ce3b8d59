"""Text files of public data sets: plain or gzip, read whole, every malformed line named."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

from training.contracts.errors import InputError, Problem, nearest, shorten


def read_text(file: Path, *, encoding: str = "utf-8") -> str:
    """The text of `file`, unpacked where it ends in .gz; raises InputError naming the line that cannot be decoded."""
    try:
        content = file.read_bytes()
        content = gzip.decompress(content) if file.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(Problem(file=str(file), problem=f"cannot be read: {error}")) from error
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = shorten(repr(content[error.start : error.end]))
        raise InputError(
            Problem(file=str(file), line=line, problem="cannot be decoded", found=found, allowed=encoding)
        ) from error


def split_lines(text: str) -> list[str]:
    """Lines at newlines only: str.splitlines would cut at Unicode separators inside a title too."""
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines and not lines[-1] else lines


def read_separated(
    file: Path, *, separator: str, columns: Sequence[str] = (), required: Sequence[str] = (), encoding: str = "utf-8"
) -> dict[str, list[str]]:
    """A file of `separator`-separated fields without quoting, by column; the first line names them unless `columns` do.

    Raises InputError for a required column that is absent or a line with another number of fields.
    """
    lines = split_lines(read_text(file, encoding=encoding))
    header = 0 if columns else 1
    names = list(columns) or (lines[0].split(separator) if lines else [])
    for name in required:
        if name not in names:
            raise InputError(
                Problem(file=str(file), line=1, column=name, problem="required column is absent",
                        found=shorten(", ".join(names)), nearest=nearest(name, names))
            )  # fmt: skip
    rows: list[list[str]] = []
    for number, line in enumerate(lines[header:], start=header + 1):
        fields = line.split(separator)
        if len(fields) != len(names):
            raise InputError(
                Problem(file=str(file), line=number, problem="wrong number of fields",
                        found=f"{len(fields)}: {shorten(line)}", allowed=f"{len(names)}: {separator.join(names)}")
            )  # fmt: skip
        rows.append(fields)
    return (
        {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
        if rows
        else {name: [] for name in names}
    )


def refuse_repeats(file: Path, column: str, values: Sequence[str], *, first_line: int) -> None:
    """Raise InputError naming the line that gives a value of a key a second time, or gives none."""
    seen: set[str] = set()
    for number, value in enumerate(values, start=first_line):
        if not value or value in seen:
            problem = "given twice" if value else "is empty"
            raise InputError(Problem(file=str(file), line=number, column=column, problem=problem, found=shorten(value)))
        seen.add(value)
