"""Draws the pictures that the images table names; may be called again after an interruption."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq

from training.contracts.progress import NoProgress, Progress
from training.datasets.sample.looks import ItemLook, look_of
from training.datasets.sample.render import render
from training.datasets.sample.truth import LOOKS, PHOTOS

SIZE_PX = 96
JPEG_QUALITY = 88
CHUNK = 200
PICTURES = "pictures"
Job = tuple[ItemLook, int, str]


def draw_images(shop_path: Path, *, workers: int = 2, progress: Progress = NoProgress()) -> int:
    """Draw every picture that is missing, in `workers` processes (1: in this one); the number drawn."""
    jobs = _missing(shop_path)
    progress.stage("drawing images", len(jobs))
    (shop_path / PICTURES).mkdir(exist_ok=True)
    chunks = [(shop_path, jobs[start : start + CHUNK]) for start in range(0, len(jobs), CHUNK)]
    if workers == 1 or len(chunks) < 2:
        for chunk in chunks:
            progress.advance(_draw(chunk))
        return len(jobs)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for drawn in pool.map(_draw, chunks):
            progress.advance(drawn)
    return len(jobs)


def _missing(shop_path: Path) -> list[Job]:
    rows = pq.read_table(shop_path / LOOKS).to_pylist()
    looks = {row["item_id"]: look_of(json.loads(row["look"])) for row in rows}
    photos = pq.read_table(shop_path / PHOTOS).to_pylist()
    return [
        (looks[photo["item_id"]], photo["view_seed"], photo["path"])
        for photo in photos
        if not (shop_path / photo["path"]).is_file()
    ]


def _draw(chunk: tuple[Path, list[Job]]) -> int:
    """Write one chunk of pictures, each appearing whole."""
    shop_path, jobs = chunk
    for look, view_seed, path in jobs:
        buffer = BytesIO()
        render(look, view_seed, SIZE_PX).save(buffer, "JPEG", quality=JPEG_QUALITY)
        partial = shop_path / f"{path}.partial"
        partial.write_bytes(buffer.getvalue())
        partial.replace(shop_path / path)
    return len(jobs)
