"""What can go wrong, said so that a person can mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with an input, by place: a table, row and column, or a file, line and field."""

    problem: str
    severity: Literal["error", "warning"] = "error"
    table: str | None = None
    file: str | None = None
    row: int | None = None
    line: int | None = None
    column: str | None = None
    field: str | None = None
    found: str | None = None
    allowed: str | None = None
    nearest: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields that say something, for `--json`."""
        always = {"problem", "severity"}
        return {key: value for key, value in asdict(self).items() if key in always or value is not None}

    def __str__(self) -> str:
        place = [str(part) for part in (self.table or self.file, self.column or self.field) if part is not None]
        number = f" line {self.line}" if self.line is not None else ""
        number = f" row {self.row}" if self.row is not None else number
        where = (": " if self.file and not self.table else ".").join(place) + number
        tail = "".join(
            f"; {label} {value}"
            for label, value in (("found", self.found), ("allowed", self.allowed), ("did you mean", self.nearest))
            if value is not None
        )
        return f"{where}: {self.problem}{tail}" if where else f"{self.problem}{tail}"


class ShopkeeperError(Exception):
    """A failure whose message is the whole story; the command line exits 1."""

    exit_code = 1


class InputError(ShopkeeperError):
    """The input is wrong; the command line prints every problem and exits 2."""

    exit_code = 2

    def __init__(self, problems: Problem | str | Sequence[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem(problem=problems)
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The allowed name most like `name`, or None when nothing is near."""
    matches = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return matches[0] if matches else None


def shorten(value: object, limit: int = 80) -> str:
    """`value` as text that fits an error line."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
