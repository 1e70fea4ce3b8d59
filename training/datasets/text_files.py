"""Text files of public data sets: plain or gzip, every malformed line named."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

from training.contracts.errors import InputError, Problem, nearest, shorten

LARGEST_TEXT_BYTES = 1 << 30
HEAD_BYTES = 1 << 16


def read_text(file: Path, *, encoding: str = "utf-8", limit_bytes: int = LARGEST_TEXT_BYTES) -> str:
    """The text of `file`, unpacked where it ends in .gz.

    Raises InputError for more than `limit_bytes`, and naming the line that cannot be decoded.
    """
    content = _read(file, limit_bytes + 1)
    if len(content) > limit_bytes:
        raise InputError(
            Problem(file=str(file), problem="larger than is read, unpacked", allowed=f"{limit_bytes:,} bytes")
        )
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = shorten(repr(content[error.start : error.end]))
        raise InputError(
            Problem(file=str(file), line=line, problem="cannot be decoded", found=found, allowed=encoding)
        ) from error


def read_head(file: Path) -> str:
    """The first HEAD_BYTES of a UTF-8 file, unpacked where it ends in .gz; raises InputError like `read_text`."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(_read(file, HEAD_BYTES)).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(Problem(file=str(file), problem="cannot be decoded", allowed="utf-8")) from error


def _read(file: Path, most_bytes: int) -> bytes:
    """At most so many bytes from the start; no more than these is unpacked."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else open(file, "rb") as stream:
            return stream.read(most_bytes)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(Problem(file=str(file), problem=f"cannot be read: {error}")) from error


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
