"""The directions in which vectors differ most, each brought to the same variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from training.metrics import Floats


@dataclass(frozen=True)
class Whitening:
    """vectors_NE -> components_NT of rows of length about 1, as fitted."""

    mean_E: npt.NDArray[np.float64]
    directions_ET: npt.NDArray[np.float64]

    @classmethod
    def fit(cls, vectors_NE: Floats, dim: int) -> Self:
        """The `dim` principal components (fewer where there are fewer), each of variance 1 / dim."""
        mean_E = vectors_NE.mean(axis=0, dtype=np.float64)
        centred = vectors_NE.astype(np.float64) - mean_E
        variances, directions = np.linalg.eigh(centred.T @ centred / max(len(centred), 1))
        kept = np.argsort(-variances, kind="stable")[:dim]
        kept = kept[variances[kept] > 1e-9]
        return cls(mean_E, directions[:, kept] / np.sqrt(variances[kept] * max(len(kept), 1)))

    @property
    def dim(self) -> int:
        return self.directions_ET.shape[1]

    def __call__(self, vectors_NE: Floats) -> Floats:
        return np.asarray((vectors_NE.astype(np.float64) - self.mean_E) @ self.directions_ET, np.float32)
