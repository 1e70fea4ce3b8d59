"""What an adapter is: a reader of one public format that writes the shop's canonical tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from training.contracts.errors import InputError, Problem
from training.contracts.progress import NoProgress, Progress


class Reader(Protocol):
    """Reads `folder` into a new shop at `out`; returns rows per table; raises InputError for a malformed file."""

    def __call__(self, folder: Path, out: Path, *, force: bool = False, progress: Progress = ...) -> dict[str, int]: ...


@dataclass(frozen=True, kw_only=True)
class DatasetAdapter:
    """One public data set that can be imported."""

    name: str
    description: str
    reads: str
    origin: str
    licence: str
    reader: Reader

    def read(self, folder: Path, out: Path, *, force: bool = False, progress: Progress | None = None) -> dict[str, int]:
        """Import `folder` into a new shop at `out`; returns rows per table.

        Raises InputError where `folder` is not of the format or writing `out` would destroy it.
        """
        if not folder.is_dir():
            raise InputError(Problem(file=str(folder), problem="no such folder"))
        if folder.resolve().is_relative_to(out.resolve()):
            raise InputError(Problem(file=str(out), problem="would replace the folder that is read"))
        return self.reader(folder, out, force=force, progress=progress or NoProgress())


def only_file(folder: Path, candidates: Iterable[Path], *, wanted: str) -> Path:
    """The single candidate; raises InputError naming what was found where there are none or several."""
    found = sorted(candidates)
    if len(found) == 1:
        return found[0]
    problem = "several files could be it" if found else "no file of the format"
    names = ", ".join(file.name for file in found) or listing(folder)
    raise InputError(Problem(file=str(folder), problem=problem, found=names, allowed=f"exactly one {wanted}"))


def shop_id_of(*names: str) -> str:
    """A shop id from the names of what is read, so that another part of a data set is another shop."""
    words = [re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._") for name in names]
    return "-".join(word for word in words if word)[:63]


def listing(folder: Path, limit: int = 10) -> str:
    """What a folder holds, for an error."""
    names = sorted(entry.name for entry in folder.iterdir())
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more or "an empty folder"
