"""The catalogue's pictures embedded a batch at a time, wherever there is room; an unreadable one is a row too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from training.contracts.progress import Progress
from training.jobs.pictures import Pictures, Shot, SquareCache
from training.jobs.vision_judging import Embedded
from training.models.embedders import Embedder

BLOCK_SHOTS = 256
Mapped = Callable[[Sequence[pa.Table], type, Sequence[Any]], Iterator[pa.Table]]
"""Applies a class, made once a worker from the arguments, to each block; answers come in any order."""
SHOTS = pa.schema(
    [("place", pa.int64()), ("image_id", pa.string()), ("path", pa.string()), ("box", pa.list_(pa.float64()))]
)
VECTORS = pa.schema([("place", pa.int64()), ("vector", pa.list_(pa.float32())), ("problem", pa.string())])


class EmbedBatch:
    """The vector of each picture of a batch, or why there is none."""

    def __init__(self, embedder: Embedder, shop: str, side: int) -> None:
        self.embedder, self.cache = embedder, SquareCache(Path(shop), side, most_bytes=0)

    def __call__(self, batch: pa.Table) -> pa.Table:
        shots = [
            Shot(image_id=row["image_id"], path=row["path"], label="", item_id="", row=row["place"],
                 box=tuple(row["box"]) if row["box"] else None)
            for row in batch.to_pylist()
        ]  # fmt: skip
        squares, read_N = Pictures(self.cache, shots).batch(np.arange(len(shots)))
        vectors = dict(zip(read_N.tolist(), self.embedder.embed(squares), strict=True))
        rows = [
            {"place": shot.row, "vector": vectors.get(number), "problem": self.cache.faults.get(shot.image_id)}
            for number, shot in enumerate(shots)
        ]
        return pa.Table.from_pylist(rows, schema=VECTORS)


def embedded_by(mapped: Mapped, embedder: Embedder, pictures: Pictures, progress: Progress) -> Embedded:
    """As `vision_judging.embedded`, with the work done where `mapped` does it."""
    blocks = [
        _table(pictures.shots[first : first + BLOCK_SHOTS], first) for first in range(0, len(pictures), BLOCK_SHOTS)
    ]
    vectors_ND, read_N = np.zeros((len(pictures), embedder.dim), np.float32), np.zeros(len(pictures), np.bool_)
    arguments = (embedder, str(pictures.cache.folder.absolute()), pictures.side)
    for answers in mapped(blocks, EmbedBatch, arguments) if blocks else ():
        for row in answers.to_pylist():
            if row["problem"] is None:
                vectors_ND[row["place"]], read_N[row["place"]] = row["vector"], True
            else:
                pictures.cache.faults[pictures.shots[row["place"]].image_id] = row["problem"]
        progress.advance(len(answers))
    places_R = np.flatnonzero(read_N)
    return Embedded(vectors_ND=vectors_ND[places_R], shots=[pictures.shots[place] for place in places_R.tolist()])


def _table(shots: Sequence[Shot], first: int) -> pa.Table:
    rows = [
        {"place": first + number, "image_id": shot.image_id, "path": shot.path, "box": shot.box}
        for number, shot in enumerate(shots)
    ]
    return pa.Table.from_pylist(rows, schema=SHOTS)
