"""What finds candidates: the interface of every retriever and the closed registry of them."""

from __future__ import annotations

import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from training.contracts.atomic import write_json
from training.contracts.errors import InputError, Problem, nearest
from training.features.sequences import Moments
from training.features.vocabulary import Codes
from training.metrics import Bools, Floats, top_k
from training.models.content_tower import ContentTower

WEIGHTS_FILE = "weights.safetensors"
MODEL_FILE = "model.json"

RETRIEVERS: Mapping[str, str] = {
    "sequence_transformer": "training.models.sequence_transformer:SequenceTransformer",
    "popularity": "training.models.popularity:Popularity",
    "item_knn": "training.models.item_knn:ItemKnn",
    "matrix_factorisation": "training.models.matrix_factorisation:MatrixFactorisation",
}


class Retriever(ABC):
    """Scores every item of a vocabulary for a history of item codes, oldest first.

    The scores of a history do not depend on its batch (within 1e-5); an empty history is an ordinary one.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def items(self) -> int:
        """I, the size of the vocabulary."""

    @abstractmethod
    def score(self, histories: Sequence[Codes], times_us: Moments = None) -> Floats:
        """scores_BI: higher is better; any scale. `times_us` are those of the histories' tokens, where known."""

    @abstractmethod
    def similarity(self, code: int) -> Floats:
        """scores_I: how like each item is to the item `code`."""

    @abstractmethod
    def state(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """What a bundle keeps: arrays, and settings that JSON can hold."""

    @classmethod
    @abstractmethod
    def from_state(cls, arrays: dict[str, npt.NDArray[Any]], settings: dict[str, Any]) -> Self:
        """The retriever that `state` came from."""

    def content_tower(self) -> ContentTower | None:
        """What makes vectors of items that were not trained on, where the retriever has learnt it."""
        return None

    def search(self, histories: Sequence[Codes], k: int, allowed_BI: Bools | None = None) -> tuple[Codes, Floats]:
        """codes_BK and scores_BK, best first, ties by item_id; a score of -inf marks what is not allowed."""
        scores_BI = self.score(histories)
        if allowed_BI is not None:
            scores_BI = np.where(allowed_BI, scores_BI, -np.inf).astype(np.float32)
        return _best(scores_BI, k)

    def similar(self, code: int, k: int, allowed_I: Bools | None = None) -> tuple[Codes, Floats]:
        """codes_K and scores_K of the items most like `code`, itself left out."""
        scores_I = self.similarity(code).copy()
        scores_I[code] = -np.inf
        if allowed_I is not None:
            scores_I[~allowed_I] = -np.inf
        codes_1K, scores_1K = _best(scores_I[None], k)
        return codes_1K[0], scores_1K[0]

    def save(self, folder: Path) -> None:
        """Write model.json and weights.safetensors into `folder`."""
        arrays, settings = self.state()
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / WEIGHTS_FILE)
        write_json(folder / MODEL_FILE, {"kind": self.kind, "settings": settings})


Gain = tuple[Codes, Floats]
"""A few items of the vocabulary, each once, and what their scores gain for one history."""

NO_GAIN: Gain = (np.zeros(0, np.int32), np.zeros(0, np.float32))


class VectorRetriever(Retriever):
    """A retriever whose score is the inner product of a user's vector and an item's, plus the gain of a few items."""

    @property
    @abstractmethod
    def item_vectors_ID(self) -> Floats: ...

    @abstractmethod
    def users(self, histories: Sequence[Codes], times_us: Moments = None) -> tuple[Floats, list[Gain]]:
        """vectors_BD and gains; zeros and none for an empty history."""

    @property
    def items(self) -> int:
        return len(self.item_vectors_ID)

    def score(self, histories: Sequence[Codes], times_us: Moments = None) -> Floats:
        vectors_BD, gains = self.users(histories, times_us)
        return with_gains(vectors_BD @ self.item_vectors_ID.T, gains)

    def similarity(self, code: int) -> Floats:
        """Cosine of the item vectors."""
        norms_I = np.linalg.norm(self.item_vectors_ID, axis=1) + 1e-12
        return self.item_vectors_ID @ (self.item_vectors_ID[code] / norms_I[code]) / norms_I


def with_gains(scores_BI: Floats, gains: Sequence[Gain]) -> Floats:
    """`scores_BI` with each row's gains added in place."""
    for scores_I, (codes, values) in zip(scores_BI, gains, strict=True):
        scores_I[codes] += values
    return scores_BI


def gain_by_item(history: Codes, gain_L: Floats) -> Gain:
    """The gain of each item of a history: the sum over its occurrences."""
    codes, places = np.unique(history, return_inverse=True)
    return codes, np.bincount(places, weights=gain_L[: len(history)], minlength=len(codes)).astype(np.float32)


def _best(scores_BI: Floats, k: int) -> tuple[Codes, Floats]:
    codes_BK = top_k(scores_BI, k)
    return codes_BK.astype(np.int32), np.take_along_axis(scores_BI, codes_BK, axis=1)


def retriever_class(kind: str) -> type[Retriever]:
    """The class registered as `kind`, imported when first asked for."""
    if kind not in RETRIEVERS:
        allowed = ", ".join(RETRIEVERS)
        problem = Problem(problem="unknown retriever", found=kind, allowed=allowed, nearest=nearest(kind, RETRIEVERS))
        raise InputError(problem)
    module, name = RETRIEVERS[kind].split(":")
    found: type[Retriever] = getattr(importlib.import_module(module), name)
    return found


def load_retriever(folder: Path) -> Retriever:
    """The retriever that `save` wrote into `folder`."""
    document = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
    return retriever_class(document["kind"]).from_state(load_file(folder / WEIGHTS_FILE), document["settings"])
