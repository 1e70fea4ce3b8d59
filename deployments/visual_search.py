"""Visual search: the articles in a shopper's photo, and the shop's nearest items to each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deployments.item_masks import ItemMasks
from deployments.live import LiveShop
from deployments.messages import Article, PhotoQuery, Refused, Seen, Wordless
from deployments.photos import PhotoReader
from deployments.state.images import ImageEntry
from training.bundles.manifest import Manifest
from training.contracts.errors import InputError
from training.features.images import Box, ImageFault, Picture, crop
from training.metrics import Floats
from training.models.detection import Detection
from training.models.gallery import Shown
from training.models.mixed_search import MixedSearch
from training.models.visual_search import VisualSearch

LOGGER = logging.getLogger("shopkeeper.visual_search")
PAGE_IMAGES, PAGE_TEXTS = 16, 64
Answer = Seen | Wordless | Refused
LOOKERS = 2
"""Threads that share a batch of photos: a pass of the model runs on one core."""
LEAST_SCORE = 0.2
"""Of a detection: less sure ones are mostly nothing."""
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
WARMING_UP = "a pair of shoes"


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
        self.photos, self._masks = PhotoReader(), ItemMasks(live)
        self._seq, self._texts_seq = from_seq, from_seq
        self._lock = threading.Lock()
        self._lookers = ThreadPoolExecutor(LOOKERS, thread_name_prefix="lookers")

    @classmethod
    def load(cls, folder: Path, manifest: Manifest, live: LiveShop) -> PhotoSearch:
        """The bundle's model with every later picture of the catalogue, warmed up."""
        known_seq = manifest.catalogue_seq
        search = cls(
            VisualSearch.load(folder), live, from_seq=known_seq if known_seq <= live.store.catalogue_seq() else 0
        )
        search._load_encoder()
        search.follow()
        side = search.model.side
        search.model.embed([np.zeros((side, side, 3), np.uint8)])
        return search

    def _load_encoder(self) -> None:
        """Photos are searched without words where it is not there."""
        try:
            if self.model.texts is not None:
                self.model.texts.encode([WARMING_UP])
        except InputError as error:
            LOGGER.error("photos are searched without words: %s", error)
            self.model.texts = None

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
            news = texts.read([*{entry.item_id: entry.item for entry in entries if entry.item}.values()])
            with self._lock:
                texts.take(news)
            self._texts_seq = entries[-1].seq

    def prepared(self, query: PhotoQuery) -> PhotoQuery:
        """With its photo decoded: a large one then holds up nobody else's batch."""
        return query._replace(data=b"", picture=self._picture(query))

    def _picture(self, query: PhotoQuery) -> Picture | ImageFault:
        return self.photos.read(query.data) if query.picture is None else query.picture

    def answer(self, queries: Sequence[PhotoQuery]) -> list[Answer]:
        """In the order of the queries, each thread with a share of them."""
        most = -(-len(queries) // LOOKERS)
        shares = [queries[first : first + most] for first in range(0, len(queries), most)]
        answered = self._lookers.map(self._answer_share, shares) if len(shares) > 1 else map(self._answer_share, shares)
        return [answer for share in answered for answer in share]

    def _answer_share(self, queries: Sequence[PhotoQuery]) -> list[Answer]:
        """What is looked at in all of the photos shares one pass of the model."""
        age_ms = self.live.age_ms()
        pictures = [self._picture(query) for query in queries]
        views = self._views(queries, pictures)
        looked_at = [view.picture for found in views for view in found]
        vectors, words = iter(self.model.embed(looked_at) if looked_at else ()), self._words(queries)
        with self._lock:
            return [
                Refused(query.version, picture.kind, picture.reason, age_ms)
                if isinstance(picture, ImageFault)
                else self._answer(query, found, np.stack([next(vectors) for _ in found]), words, age_ms)
                for query, picture, found in zip(queries, pictures, views, strict=True)
            ]

    def _words(self, queries: Sequence[PhotoQuery]) -> dict[str, Floats]:
        """The vector of each text that is asked with, whoever else asks; none where items' texts are not served."""
        texts = self.model.texts
        if texts is None:
            return {}
        return {text: texts.encode([text])[0] for text in {query.text for query in queries if query.text}}

    def _views(self, queries: Sequence[PhotoQuery], pictures: Sequence[Picture | ImageFault]) -> list[list[View]]:
        """Of each photo the articles, best first, then the whole; nothing of a file that could not be read."""
        most = max(query.most_articles for query in queries)
        asked = [
            picture
            for query, picture in zip(queries, pictures, strict=True)
            if query.most_articles and not isinstance(picture, ImageFault)
        ]
        found = iter(self.model.detect(asked, most) if asked else ())
        return [
            []
            if isinstance(picture, ImageFault)
            else views_of(picture, next(found)[: query.most_articles] if query.most_articles else [])
            for query, picture in zip(queries, pictures, strict=True)
        ]

    def _answer(
        self, query: PhotoQuery, views: list[View], vectors_VD: Floats, words: Mapping[str, Floats], age_ms: float
    ) -> Seen | Wordless:
        texts = self.model.texts
        if query.text and texts is None:
            return Wordless(query.version, age_ms)
        pictures_S = self._masks.allowed(query.filter, self.model.gallery.slot_items)
        if query.text and texts is not None:
            mixed = MixedSearch(self.model, words[query.text], query.text_weight)
            texts_T = self._masks.allowed(query.filter, texts.index.ids)
            nearest = mixed(vectors_VD, query.most_items, pictures_S, texts_T)
        else:
            nearest = self.model.search(vectors_VD, query.most_items, pictures_S)
        articles = [
            Article(view.box, view.label, view.score, items) for view, items in zip(views, nearest, strict=True)
        ]
        return Seen(query.version, articles, age_ms)

    def _take(self, entries: Sequence[ImageEntry]) -> None:
        """Pictures to be added, or one word that an item's are gone."""
        if entries[0].data is None:
            with self._lock:
                self.model.delete_item(entries[0].item_id)
            return
        fresh = [entry for entry in entries if entry.image_id not in self.model.gallery]
        pictures = self.photos.read_all([entry.data or b"" for entry in fresh])
        shown, readable = dict[str, Shown](), list[Picture]()
        for entry, picture in zip(fresh, pictures, strict=True):
            if isinstance(picture, ImageFault):
                LOGGER.error("picture %s of item %s is left out: %s", entry.image_id, entry.item_id, picture)
            else:
                shown[entry.image_id] = Shown(entry.item_id)
                readable.append(picture)
        vectors_ND = self.model.embed(readable)
        with self._lock:
            self.model.upsert(shown, vectors_ND)


def views_of(picture: Picture, detections: Sequence[Detection]) -> list[View]:
    """Each article that is surely there, in the order given, then the whole photo."""
    sure = [article for article in detections if article.score >= LEAST_SCORE]
    articles = [View(one.box, one.label, one.score, crop(picture, one.box)) for one in sure]
    return [*articles, View(WHOLE, None, 1.0, picture)]


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
