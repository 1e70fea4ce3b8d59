"""Batch inference of the vision job: for every image of a shop the nearest items; an unreadable one is a row too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from training.contracts.shop import Shop
from training.features.images import ImageFault, Picture
from training.jobs.pictures import read_picture
from training.models.squares import squared
from training.models.visual_search import VisualSearch

BLOCK_IMAGES = 1_024
NEAREST = pa.schema(
    [
        ("image_id", pa.string()), ("rank", pa.int32()), ("item_id", pa.string()), ("score", pa.float32()),
        ("problem", pa.string()),
    ]
)  # fmt: skip


class NearestBatch:
    """The `limit` items nearest to each image of a batch; one actor loads the bundle once."""

    def __init__(self, folder: str, limit: int, shop: str) -> None:
        self.search, self.limit, self.shop = VisualSearch.load(Path(folder)), limit, Path(shop)

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows: list[dict[str, Any]] = []
        squares: dict[str, Picture] = {}
        for image_id, path in zip(batch["image_id"].to_pylist(), batch["path"].to_pylist(), strict=True):
            try:
                squares[image_id] = squared(read_picture(self.shop / path), self.search.side)
            except ImageFault as fault:
                rows.append({"image_id": image_id, "problem": fault.reason})
        found = self.search.search(self.search.embed(list(squares.values())), self.limit)
        for image_id, items in zip(squares, found, strict=True):
            rows += [
                {"image_id": image_id, "rank": rank, "item_id": item_id, "score": score}
                for rank, (item_id, score) in enumerate(items, start=1)
            ]
        return pa.Table.from_pylist(rows, schema=NEAREST)


def image_paths(shop: Shop) -> Iterator[pa.Table]:
    """Blocks of image_id and path."""
    yield from shop.batches("images", ("image_id", "path"), rows=BLOCK_IMAGES)
