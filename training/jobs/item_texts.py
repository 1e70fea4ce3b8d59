"""Vectors of the items' texts, encoded once per text encoder and catalogue."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from training.contracts.atomic import write_bytes
from training.contracts.progress import Progress
from training.features.content import item_text
from training.metrics import Floats
from training.models.text_encoder import TextEncoder

CACHE_VARIABLE = "SHOPKEEPER_CACHE"
KEPT_CATALOGUES = 8
VECTORS = "vectors"


def text_vectors(items: Sequence[Mapping[str, Any]], encoder: str, *, progress: Progress) -> Floats:
    """vectors_IE of the items' texts as the encoder gives them."""
    texts = [item_text(item) for item in items]
    file = _cache_folder() / f"{_key(encoder, texts)}.safetensors"
    vectors_IE = _cached(file)
    if vectors_IE is None:
        progress.stage("item texts", len(texts))
        vectors_IE = TextEncoder(encoder).encode(texts, progress=progress)
        _keep(file, vectors_IE)
    return vectors_IE


def _key(encoder: str, texts: Sequence[str]) -> str:
    digest = hashlib.sha256(encoder.encode())
    for text in texts:
        digest.update(b"\0" + text.encode())
    return digest.hexdigest()[:32]


def _cache_folder() -> Path:
    base = os.environ.get(CACHE_VARIABLE) or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "shopkeeper" / "text"


def _cached(file: Path) -> Floats | None:
    try:
        return load_file(file)[VECTORS]
    except (OSError, SafetensorError, KeyError):
        return None


def _keep(file: Path, vectors_IE: Floats) -> None:
    """The newest KEPT_CATALOGUES stay; a cache that cannot be written is done without."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, save({VECTORS: vectors_IE}))
        newest = sorted(file.parent.glob("*.safetensors"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in newest[KEPT_CATALOGUES:]:
            old.unlink(missing_ok=True)
    except OSError:
        return
