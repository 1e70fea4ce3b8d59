"""What the shop's items say, as sentence vectors that a shopper's words are compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from training.contracts.atomic import write_json
from training.features.content import item_text
from training.indexes.config import IndexConfig
from training.indexes.faiss_index import FaissIndex
from training.indexes.registry import build_index, load_index
from training.metrics import Bools, Floats
from training.models.text_encoder import TextEncoder

ENCODER_FILE, INDEX_FOLDER = "encoder.json", "index"


class News(NamedTuple):
    """What items say from now on, as hashes by item, and the vectors of those that `says` anything."""

    said: Mapping[str, int]
    says: Sequence[str]
    vectors_NE: Floats


class ItemTexts:
    """`index` holds a unit vector of each item's text; `encoder` is loaded when first needed.

    Searching is safe from several threads, `take` and `delete` are for one at a time and not beside it.
    """

    def __init__(self, encoder: str, index: FaissIndex) -> None:
        self.encoder, self.index = encoder, index
        self._loaded: TextEncoder | None = None
        self._said: dict[str, int] = {}

    @classmethod
    def of(cls, encoder: str, item_ids: Sequence[str], vectors_IE: Floats, config: IndexConfig) -> Self:
        """Vectors of items that say nothing are zeros, and not kept."""
        says = np.flatnonzero(np.any(vectors_IE, axis=1)).tolist()
        return cls(encoder, build_index([item_ids[row] for row in says], vectors_IE[says], config))

    def encode(self, texts: Sequence[str]) -> Floats:
        """Unit vectors_NE; zeros for an empty text. Raises InputError where the encoder cannot be loaded."""
        self._loaded = self._loaded or TextEncoder(self.encoder)
        return self._loaded.encode(texts)

    def read(self, items: Sequence[Mapping[str, Any]]) -> News:
        """What items of the items table say that they did not say before; it takes long and changes nothing."""
        texts = {item["item_id"]: item_text(item).strip() for item in items}
        news = {item_id: text for item_id, text in texts.items() if self._said.get(item_id) != hash(text)}
        says = [item_id for item_id, text in news.items() if text]
        vectors_NE = self.encode([news[item_id] for item_id in says]) if says else np.zeros((0, 0), np.float32)
        return News({item_id: hash(text) for item_id, text in news.items()}, says, vectors_NE)

    def take(self, news: News) -> None:
        """Under the items' ids; one that says nothing is forgotten."""
        if news.says:
            self.index.upsert(news.says, news.vectors_NE)
        for item_id in news.said.keys() - set(news.says):
            self.delete(item_id)
        self._said.update(news.said)

    def delete(self, item_id: str) -> None:
        """Nothing happens where it is not there."""
        if item_id in self.index:
            self.index.delete(item_id)

    def nearest(self, vector_E: Floats, k: int, allowed_S: Bools | None = None) -> list[str]:
        """The items that say what is most like it, best first; `allowed_S` over the slots of the index."""
        slots_1K, _ = self.index.search(vector_E[None], k, allowed_S)
        return [self.index.ids[slot] for slot in slots_1K[0] if slot >= 0]

    def likeness(self, vector_E: Floats, item_ids: Sequence[str]) -> Floats:
        """Cosines_N; 0 for an item that says nothing."""
        cosines_N = np.zeros(len(item_ids), np.float32)
        known = [place for place, item_id in enumerate(item_ids) if item_id in self.index]
        if known:
            slots = np.array([self.index.slot(item_ids[place]) for place in known])
            cosines_N[known] = self.index.vectors_at(slots) @ vector_E
        return cosines_N

    def save(self, folder: Path) -> None:
        self.index.save(folder / INDEX_FOLDER)
        write_json(folder / ENCODER_FILE, {"encoder": self.encoder})

    @classmethod
    def load(cls, folder: Path) -> Self:
        encoder = json.loads((folder / ENCODER_FILE).read_text(encoding="utf-8"))["encoder"]
        return cls(encoder, load_index(folder / INDEX_FOLDER))
