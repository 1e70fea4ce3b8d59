"""Collects what a check finds: a few examples of each kind, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa

from training.contracts.errors import Problem, nearest, shorten

EXAMPLES = 5

Severity = Literal["error", "warning"]


@dataclass
class Findings:
    """Problems by (table, column, problem, severity): at most EXAMPLES of each, the rest counted."""

    _examples: dict[tuple[str | None, str | None, str, Severity], list[Problem]] = field(default_factory=dict)
    _counts: dict[tuple[str | None, str | None, str, Severity], int] = field(default_factory=dict)

    def add(self, problem: Problem) -> None:
        key = (problem.table, problem.column, problem.problem, problem.severity)
        self._counts[key] = self._counts.get(key, 0) + 1
        examples = self._examples.setdefault(key, [])
        if len(examples) < EXAMPLES:
            examples.append(problem)

    def rows(
        self,
        table: str,
        column: str,
        problem: str,
        rows: np.ndarray,
        *,
        found: pa.Array | None = None,
        allowed: str | None = None,
        names: Sequence[str] = (),
        severity: Severity = "error",
    ) -> None:
        """`problem` in each of `rows` (0-based, over all files of the table), where the values `found` stand.

        With `names`, the nearest of them is named.
        """
        key = (table, column, problem, severity)
        room = max(EXAMPLES - len(self._examples.get(key, [])), 0)
        for index, row in enumerate(rows[:room].tolist()):
            value = None if found is None else scalar_text(found[index])
            self.add(
                Problem(table=table, column=column, row=row, problem=problem, severity=severity, allowed=allowed,
                        found=value, nearest=nearest(value, names) if value else None)
            )  # fmt: skip
        if len(rows) > room:
            self._counts[key] = self._counts.get(key, 0) + len(rows) - room

    def problems(self) -> list[Problem]:
        """The examples, each kind closed by a line that counts the rest; errors before warnings."""
        found: list[Problem] = []
        for key, examples in self._examples.items():
            found += examples
            more = self._counts[key] - len(examples)
            if more:
                table, column, problem, severity = key
                found.append(
                    Problem(table=table, column=column, problem=f"{problem}: {more:,} more rows", severity=severity)
                )
        return sorted(found, key=lambda problem: problem.severity != "error")


def scalar_text(value: pa.Scalar) -> str:
    """A value as text, also a time that Python's datetime cannot hold."""
    try:
        plain = value.as_py()
    except (ValueError, OverflowError):
        return f"{value.value} {value.type}"
    return shorten(plain.isoformat() if hasattr(plain, "isoformat") else plain)
