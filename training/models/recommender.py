"""What a recommender bundle holds and serves: a retriever over a catalogue that goes on growing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from training.contracts.errors import InputError
from training.features.content import content_tokens
from training.features.sequences import Moments, token_places
from training.features.vocabulary import FEATURES_FILE, UNKNOWN, Codes, Vocabulary
from training.indexes.config import IndexConfig
from training.indexes.growing import GrowingRows
from training.indexes.id_order import IdOrder
from training.indexes.index import Index
from training.indexes.registry import INDEX_FILE, build_index, load_index, misfit
from training.indexes.registry import SLOTS_FILE as ROW_IDS_FILE
from training.metrics import Bools, Floats, Ints, top_k
from training.models.content_regression import NEIGHBOURS, ContentRegression
from training.models.content_tower import ContentTower
from training.models.retriever import Gain, Retriever, VectorRetriever, load_retriever, with_gains

A = TypeVar("A", bound=np.generic)
SLOTS_FILE = "slots.safetensors"
INDEX_FOLDER = "index"
ITEMS_PER_READING = 64
LOG = logging.getLogger(__name__)


class Recommender:
    """String ids in, slots and scores out; a slot is a place in `item_ids`, and is never reused.

    An item without training history has the vector that the content tower reads out of it, else that of its content
    neighbours, at the mean length of the trained ones: it competes as one of average popularity. In a history it is its
    nearest neighbour's token. A user without a known item gets the popular ones. All methods may be called from several
    threads at once.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        retriever: Retriever,
        regression: ContentRegression,
        *,
        counts_I: Ints,
        neighbours_IK: Codes,
        weights_IK: Floats,
        index: Index | None = None,
        index_config: IndexConfig = IndexConfig(),
        tower: ContentTower | None = None,
        read: tuple[Ints, Floats] | None = None,
    ) -> None:
        """`index` holds the item vectors in the order of the vocabulary; without one it is built.

        `read` are codes_C of untrained items with the vectors that `tower` has read out of them.
        """
        self.vocabulary, self.retriever, self.regression = vocabulary, retriever, regression
        self.counts_I = counts_I
        self.item_ids = list(vocabulary.ids)
        self._slots = {item_id: slot for slot, item_id in enumerate(self.item_ids)}
        self._neighbours_SK, self._weights_SK = GrowingRows(neighbours_IK), GrowingRows(weights_IK)
        self._contents: dict[str, int] = {}
        self._lock = threading.RLock()
        # Between 0 and 1, so that the ranker, which learns from warm users' scores, does not saturate on cold ones.
        share_I = np.log1p(counts_I) / np.log1p(max(int(counts_I.max(initial=0)), 1))
        self._share_I = share_I.astype(np.float32)
        self._popularity_S, self._order = GrowingRows(np.zeros(0, np.float32)), IdOrder()
        self.tower, self._read_lock = tower, threading.Lock()
        self._read = read or (np.zeros(0, np.int64), np.zeros((0, 1), np.float32))
        if isinstance(retriever, VectorRetriever):
            trained_TD = retriever.item_vectors_ID[counts_I > 0]
            self._length = float(np.linalg.norm(trained_TD, axis=1).mean()) if len(trained_TD) else 1.0
            dim = retriever.item_vectors_ID.shape[1]
            self._vectors_SD = GrowingRows(np.zeros((0, dim), np.float32))
            self._units_SD = GrowingRows(np.zeros((0, dim), np.float32))
        self._derive(np.arange(len(self.item_ids)), self.item_ids)
        if len(self._read[0]):
            self._set_vectors(*self._read)
        self._index = index
        if index is None and isinstance(retriever, VectorRetriever):
            self._index = build_index(self.item_ids, self._vectors_SD.rows, index_config)

    @classmethod
    def build(
        cls,
        vocabulary: Vocabulary,
        retriever: Retriever,
        counts_I: Ints,
        items: Sequence[Mapping[str, Any]],
        *,
        index: IndexConfig = IndexConfig(),
    ) -> Self:
        """`items` in the order of the vocabulary; `counts_I` their training interactions."""
        regression = ContentRegression.fit(items, counts_I > 0)
        neighbours_IK = np.zeros((len(items), NEIGHBOURS), np.int32)
        weights_IK = np.zeros((len(items), NEIGHBOURS), np.float32)
        neighbours_IK[:, 0], weights_IK[:, 0] = np.arange(len(items)), 1.0
        cold = np.flatnonzero(counts_I == 0)
        if len(cold):
            neighbours_IK[cold], weights_IK[cold] = regression.neighbours([items[int(code)] for code in cold])
        tower, read = retriever.content_tower(), None
        if tower is not None and len(cold):
            vectors_CD, said_C = tower.vectors([items[int(code)] for code in cold])
            read = cold[said_C], vectors_CD[said_C]
        return cls(
            vocabulary, retriever, regression,
            counts_I=counts_I, neighbours_IK=neighbours_IK, weights_IK=weights_IK, index_config=index,
            tower=tower, read=read,
        )  # fmt: skip

    def save(self, folder: Path) -> None:
        """Write the trained catalogue; items that came later are in the shop's catalogue log."""
        folder.mkdir(parents=True, exist_ok=True)
        items = len(self.vocabulary)
        self.retriever.save(folder)
        self.regression.save(folder)
        self.vocabulary.save(folder / FEATURES_FILE)
        slots = {
            "counts": self.counts_I,
            "neighbours": self._neighbours_SK.rows[:items],
            "weights": self._weights_SK.rows[:items],
            "read_codes": self._read[0],
            "read_vectors": self._read[1],
        }
        if self.tower is not None:
            self.tower.save(folder)
        save_file({name: np.ascontiguousarray(array) for name, array in slots.items()}, folder / SLOTS_FILE)
        if self._index is not None:
            self._index.save(folder / INDEX_FOLDER)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises InputError naming an index file that is damaged or does not fit the vocabulary."""
        slots, vocabulary = load_file(folder / SLOTS_FILE), Vocabulary.load(folder / FEATURES_FILE)
        return cls(
            vocabulary,
            load_retriever(folder),
            ContentRegression.load(folder),
            counts_I=slots["counts"],
            neighbours_IK=slots["neighbours"],
            weights_IK=slots["weights"],
            tower=ContentTower.load(folder),
            read=(slots["read_codes"], slots["read_vectors"]) if "read_codes" in slots else None,
            index=_load_fitting(folder / INDEX_FOLDER, vocabulary),
        )

    def __len__(self) -> int:
        return len(self.item_ids)

    def slot(self, item_id: str) -> int | None:
        """None for an item that was never here."""
        return self._slots.get(item_id)

    def retrieve(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        allowed: Sequence[Bools | None] | None = None,
        times_us: Sequence[Sequence[int]] | None = None,
    ) -> tuple[list[Ints], list[Floats]]:
        """For each history of item ids (oldest first) at most k slots and scores, best first, ties by item_id.

        `allowed[b]` is a mask over slots; slots that it does not cover yet are not allowed. `times_us[b]` are when the
        items of the history were met, where that is known.
        """
        masks = [None] * len(histories) if allowed is None else allowed
        codes, moments = self.tokens(histories, times_us)
        warm = [row for row, history in enumerate(codes) if len(history)]
        found: dict[int, tuple[Ints, Floats]] = {}
        with self._lock:
            if warm:
                warm_us = None if moments is None else [moments[row] for row in warm]
                answers = self._search([codes[row] for row in warm], k, [masks[row] for row in warm], warm_us)
                found = dict(zip(warm, answers, strict=True))
            for row in range(len(histories)):
                if row not in found:
                    found[row] = self._top(self._popularity_S.rows, k, masks[row])
        return [found[row][0] for row in range(len(histories))], [found[row][1] for row in range(len(histories))]

    def similar(self, item_id: str, k: int, allowed: Bools | None = None) -> tuple[Ints, Floats]:
        """Slots and scores of the items most like `item_id`, itself left out; KeyError for one never seen."""
        with self._lock:
            slot = self._slots[item_id]
            if isinstance(self.retriever, VectorRetriever):
                scores_S = self._units_SD.rows @ self._units_SD.rows[slot]
            else:
                scores_I = np.zeros(len(self.vocabulary), np.float32)
                for code, weight in zip(self._neighbours_SK.rows[slot], self._weights_SK.rows[slot], strict=True):
                    if weight > 0:
                        scores_I += weight * self.retriever.similarity(int(code))
                scores_S = self._extend(scores_I[None])[0]
            others_S = self._mask(allowed).copy()
            others_S[slot] = False
            return self._top(scores_S, k, others_S)

    def score(self, histories: Sequence[Codes], times_us: Moments = None) -> Floats:
        """scores_BS of every slot, for evaluation; histories of codes, an empty one scored by popularity."""
        with self._lock:
            scores_BS = self._score(histories, times_us)
            cold = [row for row, history in enumerate(histories) if not len(history)]
            scores_BS[cold] = self._popularity_S.rows
            return scores_BS

    def codes(self, item_ids: Sequence[str]) -> Codes:
        """Token codes of a history; an untrained item speaks through its nearest neighbour, or not at all."""
        return self.tokens([item_ids])[0][0]

    def tokens(
        self, histories: Sequence[Sequence[str]], times_us: Sequence[Sequence[int]] | Moments = None
    ) -> tuple[list[Codes], Moments]:
        """Codes of some histories as `codes` makes them, and the tokens' times where those of the items are known."""
        with self._lock:
            spoken = [self._spoken(history) for history in histories]
        kept = [token_places(codes_N) for codes_N in spoken]
        codes = [codes_N[places] for codes_N, places in zip(spoken, kept, strict=True)]
        if times_us is None:
            return codes, None
        return codes, [np.asarray(of_one, np.int64)[places] for of_one, places in zip(times_us, kept, strict=True)]

    def _spoken(self, item_ids: Sequence[str]) -> Codes:
        """The code through which each item speaks, UNKNOWN where none does."""
        slots_N = np.array([self._slots.get(item_id, UNKNOWN) for item_id in item_ids], np.int64)
        speaks_N = (slots_N != UNKNOWN) & (self._weights_SK.rows[slots_N, 0] > 0)
        return np.where(speaks_N, self._neighbours_SK.rows[slots_N, 0], UNKNOWN).astype(np.int32)

    def upsert_many(self, items: Sequence[Mapping[str, Any]]) -> list[int]:
        """Make items (fields of the items table) retrievable at once; returns their slots.

        The last of several with one item_id counts. A trained item stays as it is, and one whose content is as before.
        """
        latest = {str(item["item_id"]): item for item in items}
        contents = {item_id: hash(frozenset(content_tokens(item))) for item_id, item in latest.items()}
        changed = [
            item_id
            for item_id, content in contents.items()
            if not self.trained(item_id) and self._contents.get(item_id) != content
        ]
        if changed:
            found = self.regression.neighbours([latest[item_id] for item_id in changed])
            with self._lock:
                self._place(changed, *found)
                self._contents.update((item_id, contents[item_id]) for item_id in changed)
            self._read_items([latest[item_id] for item_id in changed])
        return [self._slots[str(item["item_id"])] for item in items]

    def _read_items(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Gives placed items the tower's vectors, some at a time: all of them are found before texts are encoded."""
        if self.tower is None:
            return
        for first in range(0, len(items), ITEMS_PER_READING):
            block = items[first : first + ITEMS_PER_READING]
            try:
                with self._read_lock:
                    vectors_QD, said_Q = self.tower.vectors(block)
            except InputError as error:
                LOG.warning("new items go by their neighbours alone: %s", error)
                return
            with self._lock:
                slots_Q = np.array([self._slots[str(item["item_id"])] for item in block])[said_Q]
                self._set_vectors(slots_Q, vectors_QD[said_Q])
                if self._index is not None and len(slots_Q):
                    self._index.upsert([self.item_ids[slot] for slot in slots_Q], self._vectors_SD.rows[slots_Q])

    def trained(self, item_id: str) -> bool:
        """Whether the item has training history, and with it a vector of its own."""
        slot = self._slots.get(item_id, len(self.counts_I))
        return slot < len(self.counts_I) and bool(self.counts_I[slot] > 0)

    def _place(self, item_ids: Sequence[str], neighbours_QK: Codes, weights_QK: Floats) -> None:
        """Put items, new ones in slots of their own, among their neighbours."""
        fresh = [item_id for item_id in item_ids if item_id not in self._slots]
        added = {item_id: len(self.item_ids) + place for place, item_id in enumerate(fresh)}
        slots_Q = np.array([added.get(item_id, self._slots.get(item_id, 0)) for item_id in item_ids], np.int64)
        self.item_ids.extend(fresh)
        self._neighbours_SK.grow(len(fresh))
        self._weights_SK.grow(len(fresh))
        self._neighbours_SK.rows[slots_Q], self._weights_SK.rows[slots_Q] = neighbours_QK, weights_QK
        self._derive(slots_Q, fresh)
        if self._index is not None:
            self._index.upsert(item_ids, self._vectors_SD.rows[slots_Q])
        # Last: whoever finds a slot finds all that belongs to it.
        self._slots.update(added)

    def _derive(self, slots_Q: Ints, fresh: Sequence[str]) -> None:
        """Recompute what is derived from the slots, at those given; `fresh` are the ids of the newest slots."""
        self._popularity_S.grow(len(fresh))
        self._popularity_S.rows[slots_Q] = self._blend(self._share_I[None], slots_Q)[0]
        self._order.extend(fresh)
        if isinstance(self.retriever, VectorRetriever):
            self._vectors_SD.grow(len(fresh))
            self._units_SD.grow(len(fresh))
            self._set_vectors(slots_Q, self._vectors(self.retriever.item_vectors_ID, slots_Q))

    def _set_vectors(self, slots_Q: Ints, vectors_QD: Floats) -> None:
        """An untrained item's vector gets the mean length of the trained ones; zeros stay."""
        units_QD = vectors_QD / np.maximum(np.linalg.norm(vectors_QD, axis=1, keepdims=True), 1e-12)
        trained_Q = (slots_Q < len(self.counts_I)) & (self.counts_I[np.minimum(slots_Q, len(self.counts_I) - 1)] > 0)
        self._vectors_SD.rows[slots_Q] = np.where(trained_Q[:, None], vectors_QD, self._length * units_QD)
        self._units_SD.rows[slots_Q] = units_QD

    def _vectors(self, vectors_ID: Floats, slots_Q: Ints) -> Floats:
        """The weighted mean of the neighbours' vectors, one neighbour at a time: memory stays [Q x D]."""
        vectors_QD = np.zeros((len(slots_Q), vectors_ID.shape[1]), np.float32)
        for codes_Q, weights_Q in zip(
            self._neighbours_SK.rows[slots_Q].T, self._weights_SK.rows[slots_Q].T, strict=True
        ):
            rows = np.flatnonzero(weights_Q)
            vectors_QD[rows] += vectors_ID[codes_Q[rows]] * weights_Q[rows, None]
        return vectors_QD

    def _blend(self, scores_BI: Floats, slots_Q: Ints) -> Floats:
        """The weighted mean of the neighbours' scores, one neighbour at a time: memory stays [B x Q]."""
        scores_BQ = np.zeros((len(scores_BI), len(slots_Q)), np.float32)
        for codes_Q, weights_Q in zip(
            self._neighbours_SK.rows[slots_Q].T, self._weights_SK.rows[slots_Q].T, strict=True
        ):
            scores_BQ += scores_BI[:, codes_Q] * weights_Q
        return scores_BQ

    def _extend(self, scores_BI: Floats) -> Floats:
        """Scores of the vocabulary as scores of every slot."""
        scores_BS = np.zeros((len(scores_BI), len(self.item_ids)), np.float32)
        scores_BS[:, : scores_BI.shape[1]] = scores_BI
        cold = self._cold_slots()
        if len(cold):
            scores_BS[:, cold] = self._blend(scores_BI, cold)
        return scores_BS

    def _cold_slots(self) -> Ints:
        return np.concatenate([np.flatnonzero(self.counts_I == 0), np.arange(len(self.counts_I), len(self.item_ids))])

    def _mask(self, allowed: Bools | None) -> Bools:
        """`allowed` over all slots of now."""
        if allowed is None:
            return np.ones(len(self.item_ids), np.bool_)
        return _grown(allowed, len(self.item_ids) - len(allowed))

    def _top(self, scores_S: Floats, k: int, allowed: Bools | None) -> tuple[Ints, Floats]:
        slots = np.flatnonzero(self._mask(allowed))
        best = slots[top_k(scores_S[None, slots], k, self._order.keys_S[slots])[0]]
        return best, scores_S[best]

    def _score(self, histories: Sequence[Codes], times_us: Moments) -> Floats:
        if isinstance(self.retriever, VectorRetriever):
            vectors_BD, gains = self.retriever.users(histories, times_us)
            return with_gains(vectors_BD @ self._vectors_SD.rows.T, gains)
        return self._extend(self.retriever.score(histories, times_us))

    def _search(
        self, histories: list[Codes], k: int, masks: list[Bools | None], times_us: Moments
    ) -> list[tuple[Ints, Floats]]:
        if self._index is None or not isinstance(self.retriever, VectorRetriever):
            scores_BS = self._score(histories, times_us)
            return [self._top(scores_S, k, mask) for scores_S, mask in zip(scores_BS, masks, strict=True)]
        found = []
        for vector_D, gain, mask in zip(*self.retriever.users(histories, times_us), masks, strict=True):
            allowed_S = None if mask is None else self._mask(mask)
            slots_1K, scores_1K = self._index.search(vector_D[None], k + len(gain[0]), allowed_S)
            valid = slots_1K[0] >= 0
            plain = slots_1K[0][valid], scores_1K[0][valid]
            found.append(self._regained(*plain, vector_D, gain, k, mask) if len(gain[0]) else plain)
        return found

    def _regained(
        self, slots: Ints, scores: Floats, vector_D: Floats, gain: Gain, k: int, mask: Bools | None
    ) -> tuple[Ints, Floats]:
        """The k best once each item of `gain` has it; `slots` hold as many more than k as there are of these."""
        codes, values = gain
        chosen = self._mask(mask)[codes]
        own, others = codes[chosen].astype(np.int64), ~np.isin(slots, codes)
        slots = np.concatenate([own, slots[others]])
        scores = np.concatenate([self._vectors_SD.rows[own] @ vector_D + values[chosen], scores[others]])
        best = np.lexsort((self._order.keys_S[slots], -scores))[:k]
        return slots[best], scores[best].astype(np.float32)


def _load_fitting(folder: Path, vocabulary: Vocabulary) -> Index | None:
    """The bundle's index; None where there is none, or one from before kinds were named."""
    if not (folder / INDEX_FILE).is_file():
        return None
    index = load_index(folder)
    if list(index.ids) != list(vocabulary.ids):
        raise misfit(folder / ROW_IDS_FILE, "holds other items than the bundle's vocabulary")
    return index


def _grown(rows: npt.NDArray[A], more: int) -> npt.NDArray[A]:
    """A copy of an array with `more` rows of zeros at its end, itself where there are none to add."""
    return np.concatenate([rows, np.zeros((more, *rows.shape[1:]), rows.dtype)]) if more > 0 else rows
