"""Pictures of a shop as squares: decoded in threads as they are asked for, a bounded number of them kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.contracts.progress import NoProgress, Progress
from training.features.images import Box, ImageFault, Picture, crop, open_picture, squared
from training.metrics import Ints
from training.models.embedding_network import Pixels

DECODERS = 2
BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture to be embedded: an image of the shop or what one of its boxes holds; `row` is the image's."""

    image_id: str
    path: str
    label: str
    item_id: str
    row: int
    box: Box | None = None


def read_picture(path: Path) -> Picture:
    """Raises ImageFault for a file that is no picture, or is not there."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageFault("unreadable", f"cannot be read: {error.strerror}") from error
    return open_picture(data)


class Pictures:
    """Squares of `side` pixels of some shots; at most `cache_bytes` of them stay decoded.

    What cannot be read is left out of every batch and stands in `faults`, by the shot's place.
    """

    def __init__(self, folder: Path, shots: Sequence[Shot], side: int, *, cache_bytes: int) -> None:
        self.folder, self.shots, self.side = folder, shots, side
        self.faults: dict[int, str] = {}
        self._room = cache_bytes // (side * side * 3)
        self._kept: dict[int, Picture] = {}
        self._decoders = ThreadPoolExecutor(DECODERS)

    def __len__(self) -> int:
        return len(self.shots)

    def batch(self, places_N: Ints) -> tuple[Pixels, Ints]:
        """squares_NHWC and the places that they are of."""
        found = list(self._decoders.map(self._square, places_N.tolist()))
        kept = [place for place, square in enumerate(found) if square is not None]
        squares = [square for square in found if square is not None]
        empty = np.zeros((0, self.side, self.side, 3), np.uint8)
        return np.stack(squares) if squares else empty, places_N[kept]

    def batches(self, places_N: Ints, progress: Progress = NoProgress()) -> Iterator[tuple[Pixels, Ints]]:
        """All of `places_N` in their order, BATCH at a time."""
        for first in range(0, len(places_N), BATCH):
            chosen = places_N[first : first + BATCH]
            yield self.batch(chosen)
            progress.advance(len(chosen))

    def _square(self, place: int) -> Picture | None:
        if place in self._kept:
            return self._kept[place]
        if place in self.faults:
            return None
        try:
            square = self._decoded(self.shots[place])
        except ImageFault as fault:
            self.faults[place] = fault.reason
            return None
        if len(self._kept) < self._room:
            self._kept[place] = square
        return square

    def _decoded(self, shot: Shot) -> Picture:
        picture = read_picture(self.folder / shot.path)
        return squared(picture if shot.box is None else crop(picture, shot.box), self.side)
