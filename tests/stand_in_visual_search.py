"""Stands in for training.models.visual_search until it is merged: thumbnails as vectors, no detector."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from training.features.images import Box, Picture, squared


class Detection(NamedTuple):
    box: Box
    label: str | None
    score: float


class VisualSearch:
    side, dim, labels = 8, 192, list[str]()

    def __init__(self) -> None:
        self.vectors: dict[str, np.ndarray] = {}
        self.image_items: dict[str, str] = {}

    @classmethod
    def load(cls, folder: Path) -> VisualSearch:
        made = cls()
        document = json.loads((folder / "images.json").read_text())
        made.image_items = {image_id: item_id for image_id, (item_id, _) in document.items()}
        made.vectors = {image_id: np.array(vector, np.float32) for image_id, (_, vector) in document.items()}
        return made

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        document = {
            image_id: (self.image_items[image_id], vector.tolist()) for image_id, vector in self.vectors.items()
        }
        (folder / "images.json").write_text(json.dumps(document))

    def embed(self, pictures: Sequence[Picture]) -> np.ndarray:
        flat = np.stack([squared(one, self.side).reshape(-1).astype(np.float32) - 127.5 for one in pictures])
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    def detect(self, picture: Picture, most: int) -> list[Detection]:
        del picture, most
        return []

    def search(
        self, vectors_ND: np.ndarray, k: int, allowed_items: Callable[[str], bool] | None = None
    ) -> list[list[tuple[str, float]]]:
        found = []
        for vector_D in vectors_ND:
            best: dict[str, float] = {}
            for image_id, other_D in self.vectors.items():
                item_id = self.image_items[image_id]
                if allowed_items is None or allowed_items(item_id):
                    best[item_id] = max(best.get(item_id, -2.0), float(vector_D @ other_D))
            found.append(sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:k])
        return found

    def upsert_images(self, images: Mapping[str, tuple[str, Picture]]) -> None:
        for image_id, (item_id, picture) in images.items():
            self.image_items[image_id], self.vectors[image_id] = item_id, self.embed([picture])[0]

    def delete_item(self, item_id: str) -> None:
        for image_id in [one for one, owner in self.image_items.items() if owner == item_id]:
            del self.image_items[image_id], self.vectors[image_id]
