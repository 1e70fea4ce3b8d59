"""FAISS without its type stubs: they lack the search parameters and the kernels that are used here."""

from __future__ import annotations

from typing import Any

import faiss as typed

faiss: Any = typed
