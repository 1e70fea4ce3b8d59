"""Pictures of a shop as squares: decoded in threads as they are asked for, a bounded number of them kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from stat import S_ISREG

import numpy as np

from training.contracts.errors import InputError, Problem
from training.contracts.progress import NoProgress, Progress
from training.features.images import MAX_IMAGE_BYTES, Box, ImageFault, Picture, crop, open_picture
from training.metrics import Ints
from training.models.embedding_network import Pixels
from training.models.squares import squared

DECODERS = 2
BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture to be embedded: an image of the shop or what one of its boxes holds; `row` is the image's.

    `item_id` is the label where the shop does not say of which item it is, `of_item` whether it does.
    """

    image_id: str
    path: str
    label: str
    item_id: str
    row: int
    box: Box | None = None
    of_item: bool = False


def read_picture(path: Path) -> Picture:
    """Raises ImageFault for a file that is no picture, or is not there."""
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            raise ImageFault("unreadable", "cannot be read: not a regular file")
        if status.st_size > MAX_IMAGE_BYTES:
            raise ImageFault("too_large", f"{status.st_size:,} bytes; at most {MAX_IMAGE_BYTES:,}")
        with path.open("rb") as file:
            data = file.read(MAX_IMAGE_BYTES + 1)
    except OSError as error:
        raise ImageFault("unreadable", f"cannot be read: {error.strerror}") from error
    return open_picture(data)


class SquareCache:
    """Decoded squares of `side` pixels by image, at most `most_bytes` of them, and why others could not be decoded."""

    def __init__(self, folder: Path, side: int, *, most_bytes: int) -> None:
        self.folder, self.side = folder, side
        self.faults: dict[str, str] = {}
        self._room = most_bytes // (side * side * 3)
        self._kept: dict[str, Picture] = {}
        self._decoders = ThreadPoolExecutor(DECODERS)

    def squares(self, shots: Sequence[Shot]) -> list[Picture | None]:
        absent = [shot for shot in shots if shot.image_id not in self._kept]
        decoded = dict(zip((shot.image_id for shot in absent), self._decoders.map(self.square, absent), strict=True))
        return [self._kept.get(shot.image_id, decoded.get(shot.image_id)) for shot in shots]

    def square(self, shot: Shot) -> Picture | None:
        """None where it cannot be read, which `faults` then explains."""
        name = shot.image_id
        if name in self._kept or name in self.faults:
            return self._kept.get(name)
        try:
            picture = read_picture(self.folder / shot.path)
        except ImageFault as fault:
            self.faults[name] = fault.reason
            return None
        square = squared(picture if shot.box is None else crop(picture, shot.box), self.side)
        if len(self._kept) < self._room:
            self._kept[name] = square
        return square


class Pictures:
    """Some shots as squares; what cannot be read is left out of every batch."""

    def __init__(self, cache: SquareCache, shots: Sequence[Shot]) -> None:
        self.cache, self.shots, self.side = cache, shots, cache.side

    def __len__(self) -> int:
        return len(self.shots)

    def batch(self, places_N: Ints) -> tuple[Pixels, Ints]:
        """squares_NHWC and the places that they are of."""
        found = self.cache.squares([self.shots[place] for place in places_N.tolist()])
        kept = [place for place, square in enumerate(found) if square is not None]
        squares = [square for square in found if square is not None]
        empty = np.zeros((0, self.side, self.side, 3), np.uint8)
        return np.stack(squares) if squares else empty, places_N[kept]

    def readable(self, places_N: Ints) -> tuple[Pixels, Ints]:
        """A batch, of others where nothing of it can be read, twice the same where it is alone.

        Raises InputError where nothing can be read at all.
        """
        for squares, kept_N in chain([self.batch(places_N)], self.batches(np.arange(len(self)))):
            if len(kept_N):
                twice = 2 if len(kept_N) == 1 else 1
                return squares[: len(places_N)].repeat(twice, axis=0), kept_N[: len(places_N)].repeat(twice)
        raise InputError(
            Problem(table="images", problem="no picture can be read", found="; ".join(self.problems()[:3]))
        )

    def batches(self, places_N: Ints, progress: Progress = NoProgress()) -> Iterator[tuple[Pixels, Ints]]:
        """All of `places_N` in their order, BATCH at a time."""
        for first in range(0, len(places_N), BATCH):
            chosen = places_N[first : first + BATCH]
            yield self.batch(chosen)
            progress.advance(len(chosen))

    def problems(self) -> list[str]:
        """A line for each image that could not be read."""
        return [
            f"images row {shot.row} ({shot.path}): {self.cache.faults[shot.image_id]}"
            for shot in self.shots
            if shot.image_id in self.cache.faults
        ]
