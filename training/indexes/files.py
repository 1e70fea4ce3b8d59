"""The files of a saved index, and what is said of one that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.contracts.errors import InputError, Problem, shorten
from training.contracts.validation import problems_of
from training.indexes.config import IndexConfig, Kind
from training.indexes.native import faiss
from training.metrics import Ints

INDEX_FILE = "index.json"
ROWS_FILE = "index.faiss"
SLOTS_FILE = "slots.parquet"


class Document(BaseModel):
    """index.json."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    dim: int = Field(ge=0, description="coordinates of a vector")
    slots: int = Field(ge=0, description="ids that ever were in the index")
    config: IndexConfig


def misfit(file: Path, problem: str, found: object = None, allowed: object = None) -> InputError:
    """An index file that cannot be used."""
    said = {name: str(value) for name, value in (("found", found), ("allowed", allowed)) if value is not None}
    return InputError(Problem(file=str(file), problem=problem, **said))  # type: ignore[arg-type]


def read_document(folder: Path) -> Document:
    """index.json; raises InputError where it cannot be read, by field where one is wrong."""
    file = folder / INDEX_FILE
    try:
        return Document.model_validate_json(file.read_bytes())
    except OSError as error:
        raise misfit(file, "is missing or damaged", shorten(repr(error), 200)) from error
    except ValidationError as error:
        raise InputError(problems_of(error, Document, file=str(file))) from error


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
