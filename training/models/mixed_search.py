"""A photo and words together: items that look like the one and say the other."""

from __future__ import annotations

import numpy as np

from training.metrics import Bools, Floats
from training.models.visual_search import Found, VisualSearch

CANDIDATES = 100


class MixedSearch:
    """Orders by (1 - weight) x the likeness of an item's nearest picture + weight x that of its text, both cosines."""

    def __init__(self, search: VisualSearch, vector_E: Floats, weight: float) -> None:
        """Raises ValueError where the bundle has no texts."""
        if search.texts is None:
            raise ValueError("no item texts in this bundle")
        self.search, self.texts, self.vector_E, self.weight = search.reordered(False), search.texts, vector_E, weight

    def __call__(
        self, vectors_VD: Floats, k: int, images_S: Bools | None = None, texts_T: Bools | None = None
    ) -> list[Found]:
        """For each vector of a picture the k best items, ties by item id, among the CANDIDATES of picture and text.

        `images_S` and `texts_T` say which slots of the gallery and of the texts may come back.
        """
        wanted = max(k, CANDIDATES)
        said = self.texts.nearest(self.vector_E, wanted, texts_T)
        mixed = []
        for vector_D, seen in zip(vectors_VD, self.search.search(vectors_VD, wanted, images_S), strict=True):
            looks = dict(seen)
            looks |= {item: self._looks(vector_D, item) for item in said if item not in looks}
            items = list(looks)
            text_N = self.texts.likeness(self.vector_E, items)
            scores_N = (1 - self.weight) * np.array([looks[item] for item in items]) + self.weight * text_N
            found = zip(items, scores_N.tolist(), strict=True)
            mixed.append(sorted(found, key=lambda pair: (-pair[1], pair[0]))[:k])
        return mixed

    def _looks(self, vector_D: Floats, item_id: str) -> float:
        """The likeness of the item's nearest picture; 0 where it has none."""
        slots = self.search.gallery.slots_of(item_id)
        return float((self.search.index.vectors_at(np.array(slots)) @ vector_D).max()) if slots else 0.0
