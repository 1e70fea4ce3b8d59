"""The closed registry of index kinds, and the way to build and load one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.indexes.config import IndexConfig
from training.indexes.faiss_index import FaissIndex
from training.indexes.files import INDEX_FILE, SLOTS_FILE, misfit, read_document
from training.metrics import Floats

__all__ = ["INDEXES", "INDEX_FILE", "SLOTS_FILE", "build_index", "index_class", "load_index", "misfit"]

INDEXES: Mapping[str, str] = {
    "exact": "training.indexes.exact:ExactIndex",
    "hnsw": "training.indexes.hnsw:HnswIndex",
    "ivf_pq": "training.indexes.ivf_pq:IvfPqIndex",
}


def index_class(kind: str) -> type[FaissIndex]:
    """The class registered as `kind`."""
    module, name = INDEXES[kind].split(":")
    found: type[FaissIndex] = getattr(importlib.import_module(module), name)
    return found


def build_index(ids: Sequence[str], vectors_ID: Floats, config: IndexConfig = IndexConfig()) -> FaissIndex:
    """The kind that the config says for so many items."""
    return index_class(config.kind_for(len(ids))).build(ids, vectors_ID, config)


def load_index(folder: Path) -> FaissIndex:
    """What `Index.save` wrote; raises InputError naming the file that is missing, damaged or of no known kind."""
    return index_class(read_document(folder).kind).load(folder)
