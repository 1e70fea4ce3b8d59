"""A photo and words together: items that look like the one and say the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np

from training.metrics import Floats
from training.models.visual_search import Found, VisualSearch

CANDIDATES = 100


class MixedSearch:
    """Orders by (1 - weight) x the likeness of an item's nearest picture + weight x that of its text, both cosines."""

    def __init__(self, search: VisualSearch, vector_E: Floats, weight: float) -> None:
        """Raises ValueError where the bundle has no texts."""
        if search.texts is None:
            raise ValueError("no item texts in this bundle")
        self.search, self.texts, self.vector_E, self.weight = search.reordered(False), search.texts, vector_E, weight

    def __call__(self, vectors_VD: Floats, k: int, allowed_items: Callable[[str], bool] | None) -> list[Found]:
        """For each vector of a picture the k best items, ties by item id, among the CANDIDATES of picture and text."""
        wanted = max(k, CANDIDATES)
        said = self.texts.nearest(self.vector_E, wanted, allowed_items)
        pictures = self._pictures(said)
        mixed = []
        for vector_D, seen in zip(vectors_VD, self.search.search(vectors_VD, wanted, allowed_items), strict=True):
            looks = dict(seen)
            looks |= {item: self._looks(vector_D, pictures[item]) for item in said if item not in looks}
            items = list(looks)
            text_N = self.texts.likeness(self.vector_E, items)
            scores_N = (1 - self.weight) * np.array([looks[item] for item in items]) + self.weight * text_N
            found = zip(items, scores_N.tolist(), strict=True)
            mixed.append(sorted(found, key=lambda pair: (-pair[1], pair[0]))[:k])
        return mixed

    def _pictures(self, item_ids: Iterable[str]) -> dict[str, list[int]]:
        """The slots of each item's pictures."""
        wanted, slots = set(item_ids), defaultdict[str, list[int]](list)
        for image_id, item_id in self.search.image_items.items():
            if item_id in wanted:
                slots[item_id].append(self.search.index.slot(image_id))
        return slots

    def _looks(self, vector_D: Floats, slots: list[int]) -> float:
        """The likeness of the nearest of some pictures; 0 where there is none."""
        return float((self.search.index.vectors_at(np.array(slots)) @ vector_D).max()) if slots else 0.0
