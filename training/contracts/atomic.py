"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.contracts.errors import InputError, Problem


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, durable once this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, document: Any) -> None:
    """Replace `path` by `document` as indented JSON."""
    write_bytes(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())


@contextmanager
def new_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """A scratch folder beside `path` that becomes `path` when the block ends well and vanishes when it does not.

    Raises InputError where `path` is or holds the current folder, and where it is not empty and `force` is false.
    """
    path = Path(os.path.abspath(path))
    if Path.cwd().is_relative_to(path.resolve()):
        raise InputError(
            Problem(problem="the current folder cannot be replaced", file=str(path), allowed="another folder")
        )
    refuse_occupied(path, force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            displaced = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
            os.replace(path, displaced)
            os.replace(partial, path)
            shutil.rmtree(displaced) if displaced.is_dir() else displaced.unlink()
        else:
            os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_occupied(path: Path, *, force: bool = False) -> None:
    """Raise InputError where `path` holds something and `force` is false."""
    occupied = path.is_file() or (path.is_dir() and any(path.iterdir()))
    if occupied and not force:
        raise InputError(
            Problem(problem="already exists and is not empty", file=str(path), allowed="--force to replace")
        )
