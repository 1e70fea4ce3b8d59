"""The files of a saved index, and what is said of one that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.contracts.errors import InputError, Problem, shorten
from training.indexes.native import faiss
from training.metrics import Ints

INDEX_FILE = "index.json"
ROWS_FILE = "index.faiss"
SLOTS_FILE = "slots.parquet"


def misfit(file: Path, problem: str, found: object = None, allowed: object = None) -> InputError:
    """An index file that cannot be used."""
    said = {name: str(value) for name, value in (("found", found), ("allowed", allowed)) if value is not None}
    return InputError(Problem(file=str(file), problem=problem, **said))  # type: ignore[arg-type]


def read_document(folder: Path) -> dict[str, Any]:
    """index.json; raises InputError where it cannot be read."""
    file = folder / INDEX_FILE
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        kept = {name: document[name] for name in ("kind", "dim", "slots", "config")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise misfit(file, "is missing or damaged", shorten(repr(error), 200)) from error
    return kept


def read_rows(folder: Path) -> Any:
    """The FAISS index; raises InputError where it cannot be read."""
    file = folder / ROWS_FILE
    try:
        return faiss.read_index(str(file))
    except (RuntimeError, MemoryError) as error:
        raise misfit(file, "is missing or damaged", shorten(str(error), 200)) from error


def write_slots(folder: Path, ids: Sequence[str], node_S: Ints) -> None:
    """The id and the row of each slot."""
    pq.write_table(pa.table({"item_id": list(ids), "row": node_S}), folder / SLOTS_FILE)


def read_slots(folder: Path) -> tuple[list[str], Ints]:
    """What `write_slots` wrote; raises InputError where it cannot be read."""
    file = folder / SLOTS_FILE
    try:
        table = pq.read_table(file)
        ids: list[str] = table.column("item_id").to_pylist()
        return ids, table.column("row").to_numpy().astype(np.int64)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise misfit(file, "is missing or damaged", shorten(str(error), 200)) from error
