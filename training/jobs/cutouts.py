"""Articles photographed on a plain background, without it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from training.features.images import Picture
from training.metrics import Bools, Floats, Ints
from training.models.embedding_network import Pixels

BACKGROUND_GAP = 24.0
LEAST_PLAIN, LEAST_SHAPE, MOST_SHAPE = 0.9, 0.05, 0.9
EDGE_BLUR_PX = 0.6


def foreground(picture: Picture, *, least_plain: float = 0.5) -> Bools:
    """shape_HW: where a picture differs from the colour of its edge.

    Everywhere where hardly any of it does, or where less than `least_plain` of the edge has one colour.
    """
    edge_E3 = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]]).astype(np.float32)
    colour_3 = np.median(edge_E3, axis=0)
    plain = np.abs(edge_E3 - colour_3).max(axis=1) < BACKGROUND_GAP
    shape_HW: Bools = np.abs(picture.astype(np.float32) - colour_3).max(axis=2) >= BACKGROUND_GAP
    if plain.mean() < least_plain or shape_HW.mean() < LEAST_SHAPE:
        return np.ones_like(shape_HW)
    return shape_HW


def opacity(square: Picture) -> Floats:
    """opacity_HW from 0 to 1 of the article in a picture, holes filled, its edge soft; 0 where it cannot be told."""
    shape_HW = foreground(square, least_plain=LEAST_PLAIN)
    if shape_HW.mean() > MOST_SHAPE:
        return np.zeros(shape_HW.shape, np.float32)
    soft_HW: Floats = ndimage.gaussian_filter(ndimage.binary_fill_holes(shape_HW).astype(np.float32), EDGE_BLUR_PX)
    return soft_HW


class Opacities:
    """opacity_BHW of squares, by their places; those of as many as fit in `most_bytes` are kept, a byte a pixel."""

    def __init__(self, side: int, *, most_bytes: int) -> None:
        self._room = most_bytes // side**2
        self._kept: dict[int, Picture] = {}

    def of(self, squares: Pixels, places_B: Ints) -> Floats:
        found = [self._one(square, place) for square, place in zip(squares, places_B.tolist(), strict=True)]
        opacity_BHW: Floats = np.stack(found).astype(np.float32) / np.float32(255)
        return opacity_BHW

    def _one(self, square: Picture, place: int) -> Picture:
        if (kept := self._kept.get(place)) is not None:
            return kept
        bytes_HW: Picture = (255 * opacity(square)).round().astype(np.uint8)
        if len(self._kept) < self._room:
            self._kept[place] = bytes_HW
        return bytes_HW
