"""Vectors of the items' pictures, as the shop's vision bundle sees them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import numpy as np

from training.contracts.progress import Progress
from training.contracts.shop import Shop
from training.features.images import ImageFault
from training.jobs.pictures import read_picture
from training.metrics import Floats
from training.models.squares import squared
from training.models.visual_search import VisualSearch

IMAGES_EACH, FORWARD = 4, 64
HELD_OUT = ("validation", "valid", "test")


def image_vectors(shop: Shop, item_ids: Collection[str], vision: Path, *, progress: Progress) -> dict[str, Floats]:
    """By item the mean direction of its pictures' vectors: of its first IMAGES_EACH that can be read, none held out."""
    search, paths = VisualSearch.load(vision), _paths(shop, set(item_ids))
    progress.stage("item pictures", len(paths))
    sums: dict[str, Floats] = {}
    for first in range(0, len(paths), FORWARD):
        items, squares = [], []
        for item_id, path in paths[first : first + FORWARD]:
            try:
                squares.append(squared(read_picture(shop.path / path), search.side))
                items.append(item_id)
            except ImageFault:
                continue
        if squares:
            for item_id, vector_E in zip(items, search.embedder.embed(np.stack(squares)), strict=True):
                sums[item_id] = sums.get(item_id, 0.0) + vector_E
        progress.advance(len(paths[first : first + FORWARD]))
    return {item_id: sum_E / max(float(np.linalg.norm(sum_E)), 1e-6) for item_id, sum_E in sums.items()}


def _paths(shop: Shop, item_ids: set[str]) -> list[tuple[str, str]]:
    """Item and path of each picture that is read."""
    if not shop.has("images"):
        return []
    found: dict[str, list[str]] = defaultdict(list)
    for row in shop.table("images", ("item_id", "path", "split")).to_pylist():
        if row["item_id"] in item_ids and row["split"] not in HELD_OUT and len(found[row["item_id"]]) < IMAGES_EACH:
            found[row["item_id"]].append(row["path"])
    return [(item_id, path) for item_id, chosen in found.items() for path in chosen]
