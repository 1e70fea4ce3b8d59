"""What a visual search must beat: pictures compared by their colours, and pixel by pixel."""

from __future__ import annotations

import numpy as np

from training.metrics import Floats
from training.models.embedding_network import Pixels
from training.models.squares import squared

LEVELS = 8
THUMBNAIL_SIDE = 32


class ColourHistogram:
    """Shares of LEVELS x LEVELS x LEVELS colours; the inner product of their roots is Bhattacharyya's coefficient."""

    kind = "colour_histogram"
    dim = LEVELS**3

    def embed(self, squares_NHWC: Pixels) -> Floats:
        count, height, width, _ = squares_NHWC.shape
        levels = squares_NHWC.reshape(count, height * width, 3).astype(np.int32) * LEVELS // 256
        cells_NP = (levels[..., 0] * LEVELS + levels[..., 1]) * LEVELS + levels[..., 2]
        counts = [np.bincount(cells_P, minlength=self.dim) for cells_P in cells_NP]
        roots_ND = np.sqrt(np.asarray(counts, np.float32).reshape(count, self.dim))
        return unit(roots_ND)


class RawPixels:
    """Thumbnails of at most THUMBNAIL_SIDE pixels."""

    kind = "raw_pixels"

    def __init__(self, side: int) -> None:
        self.side = min(side, THUMBNAIL_SIDE)
        self.dim = self.side**2 * 3

    def embed(self, squares_NHWC: Pixels) -> Floats:
        small = [squared(square, self.side) for square in squares_NHWC]
        return unit(np.asarray(small, np.float32).reshape(len(squares_NHWC), self.dim))


def unit(vectors_ND: Floats) -> Floats:
    """Each row at length 1; a row of zeros stays one."""
    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return (vectors_ND / np.maximum(lengths_N1, 1e-12)).astype(np.float32)
