"""What an item without training history inherits: the kernel-weighted mean of its neighbours by content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from scipy import sparse

from training.features.content import BUCKETS, hashed, nearest_columns, normalised, rarity
from training.features.vocabulary import Codes
from training.metrics import Bools, Floats

CONTENT_FILE = "content.safetensors"
NEIGHBOURS = 10
BANDWIDTH = 0.1


class ContentRegression:
    """Nadaraya-Watson over the trained items: weights_QK proportional to exp(cosine / BANDWIDTH)."""

    def __init__(self, known_IH: sparse.csr_matrix, rarity_H: npt.NDArray[np.float32]) -> None:
        self._known_IH = known_IH
        self._known_HI = known_IH.T.tocsr()
        self._rarity_H = rarity_H

    @classmethod
    def fit(cls, items: Sequence[Mapping[str, Any]], trained_I: Bools) -> Self:
        """`items` in the order of their codes; only `trained_I` ones become neighbours."""
        counts_IH = hashed(items)
        rarity_H = rarity(counts_IH)
        known = sparse.diags(trained_I.astype(np.float32)) @ normalised(counts_IH, rarity_H)
        known = known.tocsr()
        known.eliminate_zeros()
        return cls(known, rarity_H)

    def neighbours(self, items: Sequence[Mapping[str, Any]]) -> tuple[Codes, Floats]:
        """codes_QK and weights_QK of the trained items that speak for each of `items`; weights 0 where none does."""
        codes_QK, cosines_QK = nearest_columns(normalised(hashed(items), self._rarity_H), self._known_HI, NEIGHBOURS)
        weights_QK = np.exp(cosines_QK / BANDWIDTH) * (cosines_QK > 0)
        total_Q1 = weights_QK.sum(axis=1, keepdims=True)
        return codes_QK, (weights_QK / np.maximum(total_Q1, 1e-12)).astype(np.float32)

    def likeness(self, codes_Q: Codes, items: Sequence[Mapping[str, Any]]) -> Floats:
        """Cosine of each item's content with what was trained under its code; NaN where nothing was."""
        known_QH = self._known_IH[codes_Q]
        cosines_Q = np.asarray(known_QH.multiply(normalised(hashed(items), self._rarity_H)).sum(axis=1)).ravel()
        return np.where(np.diff(known_QH.indptr) > 0, cosines_Q, np.nan).astype(np.float32)

    def save(self, folder: Path) -> None:
        known, buckets = self._known_IH, np.flatnonzero(self._rarity_H)
        arrays = {
            "data": known.data,
            "indices": known.indices.astype(np.int32),
            "indptr": known.indptr.astype(np.int64),
        }
        save_file({**arrays, "buckets": buckets, "rarity": self._rarity_H[buckets]}, folder / CONTENT_FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        arrays = load_file(folder / CONTENT_FILE)
        shape = (len(arrays["indptr"]) - 1, BUCKETS)
        rarity_H = np.zeros(BUCKETS, np.float32)
        rarity_H[arrays["buckets"]] = arrays["rarity"]
        return cls(sparse.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape), rarity_H)
