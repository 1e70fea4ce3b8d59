"""How an item's fields become what the item tower reads: the same for the items trained on and for one of tomorrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from training.features.content import hashed, item_text, normalised, shared_buckets
from training.metrics import Bools, Floats
from training.models.text_encoder import TextEncoder
from training.models.whitening import Whitening

Item = Mapping[str, Any]


class ItemReader:
    """`buckets_F` are the features that are read; of texts, the directions of `whitening` in `encoder`'s vectors.

    Of pictures, those of `image_whitening` in `image_vectors`, by item id: an item that is not there is read without.
    """

    def __init__(
        self,
        buckets_F: npt.NDArray[np.int64] | None,
        *,
        encoder: str | None = None,
        whitening: Whitening | None = None,
        image_whitening: Whitening | None = None,
        image_vectors: Mapping[str, Floats] = MappingProxyType({}),
    ) -> None:
        self.buckets_F, self.encoder, self.whitening = buckets_F, encoder, whitening
        self.image_whitening, self.image_vectors = image_whitening, image_vectors
        self._loaded: TextEncoder | None = None

    @classmethod
    def of_features(cls, items: Sequence[Item], least_items: int) -> npt.NDArray[np.int64]:
        """The features that at least `least_items` of the items share."""
        return shared_buckets(hashed(items), least_items)

    def features(self, items: Sequence[Item]) -> sparse.csr_matrix | None:
        """features_IF, each row of length 1 (or empty)."""
        if self.buckets_F is None:
            return None
        return normalised(hashed(items)[:, self.buckets_F], np.ones(len(self.buckets_F), np.float32))

    def texts(self, items: Sequence[Item]) -> Floats | None:
        """text_IT; the encoder is loaded when first needed."""
        if self.encoder is None or self.whitening is None:
            return None
        self._loaded = self._loaded or TextEncoder(self.encoder)
        return self.whitening(self._loaded.encode([item_text(item) for item in items]))

    def images(self, items: Sequence[Item]) -> Floats | None:
        """image_IV, rows of 0 for items without a picture."""
        if self.image_whitening is None:
            return None
        image_IV = np.zeros((len(items), self.image_whitening.dim), np.float32)
        seen = [row for row, item in enumerate(items) if item["item_id"] in self.image_vectors]
        if seen:
            vectors_NE = np.stack([self.image_vectors[items[row]["item_id"]] for row in seen])
            image_IV[seen] = self.image_whitening(vectors_NE)
        return image_IV

    def says(self, items: Sequence[Item]) -> Bools:
        """Whether there is anything of each item to be read."""
        features_IF = self.features(items)
        known_I = np.zeros(len(items), np.bool_) if features_IF is None else np.diff(features_IF.indptr) > 0
        known_I |= np.array([item["item_id"] in self.image_vectors for item in items], np.bool_)
        return known_I | np.array([self.encoder is not None and bool(item_text(item).strip()) for item in items])
