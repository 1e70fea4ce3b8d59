"""What a vision bundle holds and serves: pictures to vectors, boxes in photos, the catalogue's images to search in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Self

import numpy as np

from training.contracts.atomic import write_json
from training.contracts.errors import InputError, Problem
from training.features.images import Picture
from training.indexes.config import IndexConfig
from training.indexes.faiss_index import FaissIndex
from training.indexes.registry import build_index, load_index
from training.metrics import Bools, Floats, Ints
from training.models.backbone import BackboneConfig
from training.models.detection import Detection
from training.models.detector import Detector
from training.models.embedders import Embedder, load_embedder, save_embedder
from training.models.gallery import Gallery, Shown
from training.models.graph_reranking import RerankConfig, reranked_scores
from training.models.item_texts import ItemTexts
from training.models.label_proxies import LabelProxies
from training.models.squares import squared

MODEL_FILE, IMAGES_FILE, INDEX_FOLDER, TEXTS_FOLDER = "model.json", "images.parquet", "index", "texts"
FORMAT = 2
WIDENING, MOST_IMAGES = 4, 4096

Found = list[tuple[str, float]]
"""Item ids and scores, best first."""


class VisualSearch:
    """`index` holds the catalogue's images; `gallery` says of which item and label each is.

    Reading is safe from several threads, writing is for one at a time and not beside reading.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        side: int,
        labels: Sequence[str],
        backbone: BackboneConfig = BackboneConfig(),
        reranking: RerankConfig = RerankConfig(),
        index: IndexConfig = IndexConfig(),
        detector: Detector | None = None,
        texts: ItemTexts | None = None,
        proxies: LabelProxies | None = None,
    ) -> None:
        self.embedder, self.side, self.dim, self.labels = embedder, side, embedder.dim, list(labels)
        self.backbone, self.reranking, self.detector = backbone, reranking, detector
        self.texts, self.proxies = texts, proxies
        self.index: FaissIndex = build_index([], np.zeros((0, self.dim), np.float32), index)
        self.gallery = Gallery()

    def embed(self, pictures: Sequence[Picture]) -> Floats:
        """Unit vectors_ND of pictures of any size."""
        empty = np.zeros((0, self.side, self.side, 3), np.uint8)
        squares = [squared(picture, self.side) for picture in pictures]
        return self.embedder.embed(np.stack(squares) if squares else empty)

    def detect(self, photos: Sequence[Picture], most: int) -> list[list[Detection]]:
        """The articles in each photo, best first; none where there is no detector."""
        return self.detector.detect(photos, most) if self.detector is not None else [[] for _ in photos]

    def fill(self, images: Mapping[str, Shown], vectors_ND: Floats) -> None:
        """Put the catalogue's images, by their ids, into an index of their own, each with its vector."""
        self.gallery = Gallery()
        self.index = build_index(list(images), self._drawn(images, vectors_ND), self.index.config)
        self.gallery.put(images)

    def upsert(self, images: Mapping[str, Shown], vectors_ND: Floats) -> None:
        """By image id, what it shows and its vector, in the order of the ids; searchable once this returns."""
        self.index.upsert(list(images), self._drawn(images, vectors_ND))
        self.gallery.put(images)

    def _drawn(self, images: Mapping[str, Shown], vectors_ND: Floats) -> Floats:
        """Nearer to what training learnt of their labels, where there is something."""
        if self.proxies is None:
            return vectors_ND
        return self.proxies.drawn(vectors_ND, [self.gallery.label_of(shown) for shown in images.values()])

    def delete_item(self, item_id: str) -> None:
        """Its images are found no more, and no later ones are drawn to what was learnt of it."""
        if self.proxies is not None:
            self.proxies.forget(item_id)
        for image_id in self.gallery.forget(item_id):
            self.index.delete(image_id)

    def search(self, vectors_ND: Floats, k: int, allowed_S: Bools | None = None) -> list[Found]:
        """For each vector the k best items by their best image, ties by item id; `allowed_S` over the gallery's slots.

        Fewer come back where no more are allowed, or where the best MOST_IMAGES images are all of fewer items.
        """
        return [self._search_one(vector_D, k, allowed_S) for vector_D in np.asarray(vectors_ND, np.float32)]

    def images(self, vector_D: Floats, k: int, allowed_S: Bools | None = None) -> tuple[Ints, Floats]:
        """Slots of the k best images and their scores, best first, re-ranked where the bundle says so."""
        wanted = max(k, self.reranking.candidates) if self.reranking.enabled else k
        slots_1K, scores_1K = self.index.search(vector_D[None], wanted, allowed_S)
        found = slots_1K[0] >= 0
        slots_C, scores_C = slots_1K[0][found], scores_1K[0][found]
        if self.reranking.enabled and len(slots_C) > 1:
            slots_C, scores_C = self._reranked(vector_D, slots_C, scores_C)
        return slots_C[:k], scores_C[:k]

    def reordered(self, enabled: bool) -> Self:
        """The same search with re-ranking switched on or off; index and images are shared."""
        other = copy(self)
        other.reranking = self.reranking.model_copy(update={"enabled": enabled})
        return other

    def _reranked(self, vector_D: Floats, slots_C: Ints, scores_C: Floats) -> tuple[Ints, Floats]:
        """The first candidates in their new order, the others behind them in their old one."""
        head = min(self.reranking.candidates, len(slots_C))
        labels_H = self._labels(slots_C[:head])
        new_H = reranked_scores(vector_D, self.index.vectors_at(slots_C[:head]), labels_H, self.reranking)
        order_H = np.lexsort((np.arange(head), -new_H))
        # What is not re-ranked stays behind, as far apart as before.
        behind = new_H.min() - (scores_C[head - 1] - scores_C[head:])
        return np.concatenate([slots_C[order_H], slots_C[head:]]), np.concatenate([new_H[order_H], behind])

    def _labels(self, slots_H: Ints) -> Ints:
        """A number for each label among these images."""
        labels = self.gallery.labels_at(slots_H.tolist())
        codes = {label: code for code, label in enumerate(dict.fromkeys(labels))}
        return np.array([codes[label] for label in labels], np.int64)

    def _search_one(self, vector_D: Floats, k: int, allowed_S: Bools | None) -> Found:
        images = max(k, self.reranking.candidates)
        while True:
            slots_C, scores_C = self.images(vector_D, images, allowed_S)
            best: dict[str, float] = {}
            for slot, score in zip(slots_C.tolist(), scores_C.tolist(), strict=True):
                item = self.gallery.slot_items[slot]
                best[item] = max(best.get(item, -np.inf), score)
            if len(best) >= k or len(slots_C) < images or images >= MOST_IMAGES:
                return sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:k]
            images *= WIDENING

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        described: dict[str, Any] = {
            "format": FORMAT, "side": self.side, "labels": self.labels,
            "embedder": save_embedder(self.embedder, self.backbone, folder),
            "reranking": self.reranking.model_dump(mode="json"),
            "detector": self.detector.save(folder) if self.detector is not None else None,
        }  # fmt: skip
        self.index.save(folder / INDEX_FOLDER)
        if self.texts is not None:
            self.texts.save(folder / TEXTS_FOLDER)
        if self.proxies is not None:
            self.proxies.save(folder)
        self.gallery.save(folder / IMAGES_FILE)
        write_json(folder / MODEL_FILE, described)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises InputError naming a file that is missing or of a newer format."""
        described = _read(folder / MODEL_FILE)
        embedder = load_embedder(folder, described["embedder"], described["side"])
        detector = None if described["detector"] is None else Detector.load(folder, described["detector"])
        search = cls(
            embedder, side=described["side"], labels=described["labels"], detector=detector,
            texts=ItemTexts.load(folder / TEXTS_FOLDER) if (folder / TEXTS_FOLDER).is_dir() else None,
            proxies=LabelProxies.load(folder, described["labels"], embedder.dim),
            backbone=BackboneConfig.model_validate(described["embedder"].get("backbone", {})),
            reranking=RerankConfig.model_validate(described["reranking"]),
        )  # fmt: skip
        search.index = load_index(folder / INDEX_FOLDER)
        search.gallery = Gallery.load(folder / IMAGES_FILE, search.index.ids)
        return search


def _read(path: Path) -> dict[str, Any]:
    try:
        described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(Problem(file=str(path), problem=f"cannot be read: {error}")) from error
    if described.get("format") != FORMAT:
        raise InputError(
            Problem(file=str(path), field="format", problem="of another version", found=str(described.get("format")),
                    allowed=str(FORMAT))
        )  # fmt: skip
    return described
