"""Visual search: the articles in a shopper's photo, and the shop's nearest items to each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deployments.live import LiveShop
from deployments.messages import Article, PhotoQuery, Refused, Seen, Wordless
from deployments.photos import PhotoReader
from deployments.selection import Selection
from deployments.state.images import ImageEntry
from training.bundles.manifest import Manifest
from training.features.images import Box, ImageFault, Picture, crop
from training.models.mixed_search import MixedSearch
from training.models.visual_search import Found, VisualSearch

LOGGER = logging.getLogger("shopkeeper.visual_search")
PAGE_IMAGES, PAGE_TEXTS = 16, 64
Answer = Seen | Wordless | Refused
LEAST_SCORE = 0.2
"""Of a detection: less sure ones are mostly nothing."""
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


class View(NamedTuple):
    """A part of a photo that is looked at."""

    box: Box
    label: str | None
    score: float
    picture: Picture


class PhotoSearch:
    """One bundle's visual search, kept in step with the pictures that came since."""

    def __init__(self, model: VisualSearch, live: LiveShop, *, from_seq: int) -> None:
        self.model, self.live = model, live
        self.photos = PhotoReader()
        self._seq, self._texts_seq = from_seq, from_seq
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path, manifest: Manifest, live: LiveShop) -> PhotoSearch:
        """The bundle's model with every later picture of the catalogue, warmed up."""
        known_seq = manifest.catalogue_seq
        search = cls(
            VisualSearch.load(folder), live, from_seq=known_seq if known_seq <= live.store.catalogue_seq() else 0
        )
        search.follow()
        side = search.model.side
        search.model.embed([np.zeros((side, side, 3), np.uint8)])
        return search

    def follow(self) -> None:
        """Make later pictures findable and forget those of deleted items, in the order of the log."""
        while entries := self.live.store.images_since(self._seq, limit=PAGE_IMAGES):
            for run in _runs(entries):
                self._take(run)
            self._seq = entries[-1].seq
        self._follow_texts()

    def _follow_texts(self) -> None:
        """Read what items say now; those deleted are masked by the catalogue."""
        texts = self.model.texts
        while texts and (entries := self.live.store.catalogue_since(self._texts_seq, limit=PAGE_TEXTS)):
            items = {entry.item_id: entry.item for entry in entries if entry.item}
            with self._lock:
                texts.upsert(list(items.values()))
            self._texts_seq = entries[-1].seq

    def answer(self, queries: Sequence[PhotoQuery]) -> list[Answer]:
        """What is looked at in all of the photos shares one pass of the model."""
        age_ms = self.live.age_ms()
        pictures = self.photos.read_all([query.data for query in queries])
        with self._lock:
            views = [self._views(query, picture) for query, picture in zip(queries, pictures, strict=True)]
            looked_at = [view.picture for found in views for view in found]
            vectors = iter(self.model.embed(looked_at) if looked_at else ())
            return [
                Refused(query.version, picture.kind, picture.reason, age_ms)
                if isinstance(picture, ImageFault)
                else self._answer(query, found, np.stack([next(vectors) for _ in found]), age_ms)
                for query, picture, found in zip(queries, pictures, views, strict=True)
            ]

    def _views(self, query: PhotoQuery, picture: Picture | ImageFault) -> list[View]:
        """The articles, best first, then the whole; nothing of a file that could not be read."""
        if isinstance(picture, ImageFault):
            return []
        sure = self.model.detect(picture, query.most_articles) if query.most_articles else []
        articles = [article for article in sure if article.score >= LEAST_SCORE]
        found = [View(one.box, one.label, one.score, crop(picture, one.box)) for one in articles]
        return [*found, View(WHOLE, None, 1.0, picture)]

    def _answer(self, query: PhotoQuery, views: list[View], vectors_VD: np.ndarray, age_ms: float) -> Seen | Wordless:
        if query.text and self.model.texts is None:
            return Wordless(query.version, age_ms)
        search: Callable[..., list[Found]] = self.model.search
        if query.text and self.model.texts is not None:
            search = MixedSearch(self.model, self.model.texts.encode([query.text])[0], query.text_weight)
        nearest = search(vectors_VD, query.most_items, self._allowed(query.filter))
        articles = [
            Article(view.box, view.label, view.score, items) for view, items in zip(views, nearest, strict=True)
        ]
        return Seen(query.version, articles, age_ms)

    def _allowed(self, filter_text: str | None) -> Callable[[str], bool] | None:
        """What may be shown now; a shop that never had a catalogue shows whatever its pictures are labelled with."""
        view = self.live.view
        if view.seq == 0 and filter_text is None:
            return None
        mask = Selection.of(self.live, filter_text).row_mask(view)
        return lambda item_id: (row := view.row_of.get(item_id)) is not None and bool(mask[row])

    def _take(self, entries: Sequence[ImageEntry]) -> None:
        """Pictures to be added, or one word that an item's are gone."""
        if entries[0].data is None:
            with self._lock:
                self.model.delete_item(entries[0].item_id)
            return
        fresh = [entry for entry in entries if entry.image_id not in self.model.image_items]
        pictures = self.photos.read_all([entry.data or b"" for entry in fresh])
        readable = {}
        for entry, picture in zip(fresh, pictures, strict=True):
            if isinstance(picture, ImageFault):
                LOGGER.error("picture %s of item %s is left out: %s", entry.image_id, entry.item_id, picture)
            else:
                readable[entry.image_id] = (entry.item_id, picture)
        with self._lock:
            self.model.upsert_images(readable)


def _runs(entries: Sequence[ImageEntry]) -> Iterator[list[ImageEntry]]:
    """Pictures that follow each other together, each deletion alone."""
    run: list[ImageEntry] = []
    for entry in entries:
        if entry.data is None:
            if run:
                yield run
            yield [entry]
            run = []
        else:
            run.append(entry)
    if run:
        yield run
