"""Image paths: inside the shop, no links, and there."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from training.contracts.checks.findings import Findings

ABSENT = "no such image file"


class ImagePaths:
    """Judges the paths of one shop's images."""

    def __init__(self, shop: Path) -> None:
        self._shop = shop
        self._folder_problem = lru_cache(maxsize=None)(self._judge_folder)

    def check(self, table: str, name: str, column: pa.Array, first_row: int, findings: Findings) -> None:
        """Paths that leave the shop are errors; a file that is not there (yet) is a warning."""
        wrong: dict[str, list[int]] = {}
        for row, path in enumerate(column.to_pylist()):
            problem = None if path is None else self.problem(path)
            if problem:
                wrong.setdefault(problem, []).append(row)
        for problem, rows in wrong.items():
            findings.rows(
                table, name, problem, np.array(rows) + first_row, found=column.take(pa.array(rows)),
                allowed="a path inside the shop", severity="warning" if problem == ABSENT else "error",
            )  # fmt: skip

    def problem(self, path: str) -> str | None:
        """Why `path` is no image of the shop, or None."""
        if not path or "\0" in path:
            return "not a path"
        if path.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", path):
            return "absolute path"
        if ".." in re.split(r"[/\\]", path):
            return "path leaves the shop"
        folder, _, name = path.rpartition("/")
        return self._folder_problem(folder) or self._judge(self._shop / folder / name)

    def _judge_folder(self, folder: str) -> str | None:
        place = self._shop
        for part in filter(None, folder.split("/")):
            place = place / part
            if place.is_symlink():
                return "path goes through a link"
        return None

    @staticmethod
    def _judge(file: Path) -> str | None:
        try:
            if file.is_symlink():
                return "path goes through a link"
            return None if file.is_file() else ABSENT
        except OSError:
            return "not a path"
