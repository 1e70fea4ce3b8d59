"""Training scenes of the detector: the shop's photos with boxes, and articles pasted onto clutter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from training.features.images import ImageFault, Picture, crop
from training.jobs.cutouts import foreground
from training.jobs.pictures import Shot, read_picture
from training.jobs.vision_data import Scene
from training.metrics import Floats
from training.models.detector import around_picture
from training.models.squares import squared

PASTED = 5
LEAST_SHARE, MOST_SHARE = 0.15, 0.6


@dataclass(frozen=True, kw_only=True)
class Example:
    """A square with the boxes in it, corners as shares of the square, and the names of what they hold."""

    square: Picture
    boxes_N4: Floats
    labels: tuple[str, ...]


class Scenes:
    """Photos with boxes and composed scenes, each as a square of `side` pixels.

    At most `most_bytes` of squares and articles, half of each, stay decoded.
    """

    def __init__(
        self, folder: Path, scenes: Sequence[Scene], shots: Sequence[Shot], side: int, *, most_bytes: int
    ) -> None:
        self.folder, self.scenes, self.shots, self.side = folder, scenes, shots, side
        square_bytes = 3 * side**2
        self._photo = lru_cache(maxsize=int(most_bytes / 2 / square_bytes))(self._read)
        self._cut = lru_cache(maxsize=int(most_bytes / 2 / (MOST_SHARE**2 * square_bytes)))(self._read_article)

    def photo(self, place: int) -> Example | None:
        """None where it cannot be read."""
        return self._photo(place)

    def _read(self, place: int) -> Example | None:
        scene = self.scenes[place]
        try:
            picture = read_picture(self.folder / scene.path)
        except ImageFault:
            return None
        height, width = picture.shape[:2]
        boxes_N4 = around_picture(np.array(scene.boxes, np.float32).reshape(-1, 4), height, width, self.side)
        return Example(square=squared(picture, self.side), boxes_N4=boxes_N4, labels=scene.labels)

    def composed(self, rng: np.random.Generator) -> Example | None:
        """Articles of the shop on a blurred heap of others; None where none of them can be read."""
        articles = [found for found in (self._article(rng) for _ in range(int(rng.integers(1, PASTED + 1)))) if found]
        background = self._article(rng)
        if not articles or background is None:
            return None
        scene = Image.fromarray(_clutter(background[0], self.side, rng))
        boxes_N4 = np.array([_pasted(scene, picture, rng) for picture, _ in articles], np.float32)
        labels = tuple(label for _, label in articles)
        return Example(square=np.asarray(scene), boxes_N4=boxes_N4 / np.float32(self.side), labels=labels)

    def _article(self, rng: np.random.Generator) -> tuple[Picture, str] | None:
        return self._cut(int(rng.integers(len(self.shots))))

    def _read_article(self, place: int) -> tuple[Picture, str] | None:
        """No larger than it is ever pasted; None where it cannot be read."""
        shot = self.shots[place]
        try:
            picture = read_picture(self.folder / shot.path)
        except ImageFault:
            return None
        article = Image.fromarray(picture if shot.box is None else crop(picture, shot.box))
        article.thumbnail((round(self.side * MOST_SHARE),) * 2)
        return np.asarray(article), shot.label


def _clutter(picture: Picture, side: int, rng: np.random.Generator) -> Picture:
    """A picture blown up and blurred, with noise."""
    blown = Image.fromarray(picture).resize((side, side)).filter(ImageFilter.GaussianBlur(side / 16))
    noise = rng.normal(0, 12, (side, side, 3))
    return np.clip(np.asarray(blown) + noise, 0, 255).astype(np.uint8)


def _pasted(scene: Image.Image, picture: Picture, rng: np.random.Generator) -> tuple[float, ...]:
    """Paste an article without its plain background somewhere into the scene; returns its box in pixels."""
    side = scene.width
    scale = side * rng.uniform(LEAST_SHARE, MOST_SHARE) / max(picture.shape[:2])
    size = (max(2, round(picture.shape[1] * scale)), max(2, round(picture.shape[0] * scale)))
    article = Image.fromarray(picture).resize(size)
    shape_HW = foreground(np.asarray(article))
    left, top = int(rng.integers(side - size[0] + 1)), int(rng.integers(side - size[1] + 1))
    scene.paste(article, (left, top), Image.fromarray((shape_HW * 255).astype(np.uint8)))
    rows, columns = np.flatnonzero(shape_HW.any(axis=1)), np.flatnonzero(shape_HW.any(axis=0))
    return (left + columns[0], top + rows[0], left + columns[-1] + 1.0, top + rows[-1] + 1.0)
