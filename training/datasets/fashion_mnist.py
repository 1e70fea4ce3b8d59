"""Fashion-MNIST and whatever else comes as MNIST's four IDX files: small grey pictures of ten classes."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.contracts.errors import InputError, Problem
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import new_shop
from training.datasets.adapter import DatasetAdapter, only_file
from training.datasets.picture_shop import PICTURES, picture_info, write_images

LABELS = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot",
)  # fmt: skip
FILES = {"train": "train", "test": "t10k"}
IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049
MAX_BYTES = 1 << 30
FOLDER_SIZE = 1000

Bytes = npt.NDArray[np.uint8]


def read(folder: Path, out: Path, *, force: bool = False, progress: Progress = NoProgress()) -> dict[str, int]:
    """Import a folder of the four files into a new shop at `out`; returns rows per table."""
    splits = {split: _split(folder, prefix) for split, prefix in FILES.items()}
    progress.stage("writing pictures", sum(len(labels) for _, labels in splits.values()))
    with new_shop(out, picture_info("fashion-mnist", fallback="fashion-mnist"), force=force) as shop:
        rows = [row for split, (pictures, labels) in splits.items()
                for row in _written(shop.folder, split, pictures, labels, progress)]  # fmt: skip
        write_images(shop, rows)
        return shop.counts


def _written(folder: Path, split: str, pictures: Bytes, labels: Bytes, progress: Progress) -> Iterator[dict[str, Any]]:
    """A PNG for each picture, FOLDER_SIZE in a folder; their rows of the images table."""
    for number, (picture, label) in enumerate(zip(pictures, labels.tolist(), strict=True)):
        path = f"{PICTURES}/{split}/{number // FOLDER_SIZE:03d}/{number:06d}.png"
        if number % FOLDER_SIZE == 0:
            (folder / path).parent.mkdir(parents=True)
        (folder / path).write_bytes(_png(picture))
        yield {"image_id": f"{split}-{number:06d}", "path": path, "label": LABELS[label], "split": split}
        progress.advance()


def _png(picture: Bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _split(folder: Path, prefix: str) -> tuple[Bytes, Bytes]:
    """pictures_NHW and labels_N of one split."""
    images, labels = (
        only_file(folder, folder.glob(f"{prefix}-{kind}*ubyte.gz"), wanted=f"{prefix}-{kind}-ubyte.gz")
        for kind in ("images-idx3", "labels-idx1")
    )
    pictures_NHW, labels_N = _idx(images, IMAGES_MAGIC, 3), _idx(labels, LABELS_MAGIC, 1)
    if len(pictures_NHW) != len(labels_N):
        raise InputError(
            Problem(file=str(labels), problem="another number of labels than pictures", found=str(len(labels_N)),
                    allowed=str(len(pictures_NHW)))
        )  # fmt: skip
    wrong = np.flatnonzero(labels_N >= len(LABELS))
    if len(wrong):
        raise InputError(
            Problem(file=str(labels), row=int(wrong[0]), problem="unknown class", found=str(labels_N[wrong[0]]),
                    allowed=f"0 to {len(LABELS) - 1}")
        )  # fmt: skip
    return pictures_NHW, labels_N


def _idx(file: Path, magic: int, dimensions: int) -> Bytes:
    """The array of an IDX file of bytes: a number for the format, a length for each dimension, then the values."""
    content = _unpacked(file)
    start = 4 * (1 + dimensions)
    header = np.frombuffer(content[:start].ljust(start, b"\0"), ">u4")
    if len(content) < start or header[0] != magic:
        raise InputError(
            Problem(file=str(file), problem="not an IDX file of this kind", found=content[:4].hex() or "nothing",
                    allowed=f"{magic:08x} and {dimensions} lengths first")
        )  # fmt: skip
    shape = tuple(int(length) for length in header[1:])
    values = np.frombuffer(content, np.uint8, offset=start)
    expected = int(np.prod(shape, dtype=object))
    if len(values) != expected:
        rows = len(values) // max(expected // max(shape[0], 1), 1)
        raise InputError(
            Problem(file=str(file), row=min(rows, shape[0]), problem="the file ends elsewhere than its header says",
                    found=f"{len(values):,} bytes", allowed=f"{expected:,}")
        )  # fmt: skip
    return values.reshape(shape)


def _unpacked(file: Path) -> bytes:
    try:
        with gzip.open(file) as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(Problem(file=str(file), problem=f"cannot be unpacked: {error}")) from error
    if len(content) > MAX_BYTES:
        raise InputError(Problem(file=str(file), problem="is too large", allowed=f"{MAX_BYTES:,} bytes unpacked"))
    return content


ADAPTER = DatasetAdapter(
    name="fashion-mnist",
    description="70,000 grey pictures of clothes, 28 x 28 pixels, ten classes.",
    reads="train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, and the same of t10k",
    origin="Zalando Research (Xiao, Rasul, Vollgraf, 2017)",
    licence="MIT",
    reader=read,
)
