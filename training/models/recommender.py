"""What a recommender bundle holds and serves: a retriever over a catalogue that goes on growing."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors.numpy import load_file, save_file

from training.features.sequences import collapse
from training.features.vocabulary import UNKNOWN, Codes, Vocabulary
from training.indexes.flat import FlatIndex
from training.metrics import Bools, Floats, Ints, top_k
from training.models.content_regression import NEIGHBOURS, ContentRegression
from training.models.retriever import Gain, Retriever, VectorRetriever, load_retriever, with_gains

FEATURES_FILE = "features.json"
SLOTS_FILE = "slots.safetensors"
INDEX_FOLDER = "index"


class Recommender:
    """String ids in, slots and scores out; a slot is a place in `item_ids`, and is never reused.

    An item without training history takes the place of its content neighbours: their mean score as a candidate, the
    nearest one's token in a history. A user without a known item gets the popular ones. All methods may be called
    from several threads at once.
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
        index: FlatIndex | None = None,
    ) -> None:
        self.vocabulary, self.retriever, self.regression = vocabulary, retriever, regression
        self.counts_I = counts_I
        self.item_ids = list(vocabulary.ids)
        self._slots = {item_id: slot for slot, item_id in enumerate(self.item_ids)}
        self._neighbours_SK, self._weights_SK = neighbours_IK, weights_IK
        self._live_S = np.ones(len(self.item_ids), np.bool_)
        self._order_S = np.arange(len(self.item_ids))
        self._lock = threading.RLock()
        self._index = index if index is not None else self._build_index()
        self._refresh()

    @classmethod
    def build(
        cls, vocabulary: Vocabulary, retriever: Retriever, counts_I: Ints, items: Sequence[Mapping[str, Any]]
    ) -> Self:
        """`items` in the order of the vocabulary; `counts_I` their training interactions."""
        regression = ContentRegression.fit(items, counts_I > 0)
        neighbours_IK = np.zeros((len(items), NEIGHBOURS), np.int32)
        weights_IK = np.zeros((len(items), NEIGHBOURS), np.float32)
        neighbours_IK[:, 0], weights_IK[:, 0] = np.arange(len(items)), 1.0
        cold = np.flatnonzero(counts_I == 0)
        if len(cold):
            neighbours_IK[cold], weights_IK[cold] = regression.neighbours([items[int(code)] for code in cold])
        return cls(
            vocabulary, retriever, regression, counts_I=counts_I, neighbours_IK=neighbours_IK, weights_IK=weights_IK
        )

    def save(self, folder: Path) -> None:
        """Write the trained catalogue; items that came later are in the shop's catalogue log."""
        folder.mkdir(parents=True, exist_ok=True)
        items = len(self.vocabulary)
        self.retriever.save(folder)
        self.regression.save(folder)
        self.vocabulary.save(folder / FEATURES_FILE)
        slots = {
            "counts": self.counts_I,
            "neighbours": self._neighbours_SK[:items],
            "weights": self._weights_SK[:items],
        }
        save_file({name: np.ascontiguousarray(array) for name, array in slots.items()}, folder / SLOTS_FILE)
        if self._index is not None:
            self._index.save(folder / INDEX_FOLDER)

    @classmethod
    def load(cls, folder: Path) -> Self:
        slots = load_file(folder / SLOTS_FILE)
        index_folder = folder / INDEX_FOLDER
        return cls(
            Vocabulary.load(folder / FEATURES_FILE),
            load_retriever(folder),
            ContentRegression.load(folder),
            counts_I=slots["counts"],
            neighbours_IK=slots["neighbours"],
            weights_IK=slots["weights"],
            index=FlatIndex.load(index_folder) if index_folder.is_dir() else None,
        )

    def __len__(self) -> int:
        return len(self.item_ids)

    def slot(self, item_id: str) -> int | None:
        """None for an item that was never here."""
        return self._slots.get(item_id)

    def retrieve(
        self, histories: Sequence[Sequence[str]], k: int, allowed: Sequence[Bools | None] | None = None
    ) -> tuple[list[Ints], list[Floats]]:
        """For each history of item ids (oldest first) at most k slots and scores, best first, ties by item_id.

        `allowed[b]` is a mask over slots; slots that it does not cover yet are not allowed.
        """
        masks = [None] * len(histories) if allowed is None else allowed
        codes = [self.codes(history) for history in histories]
        warm = [row for row, history in enumerate(codes) if len(history)]
        found: dict[int, tuple[Ints, Floats]] = {}
        with self._lock:
            if warm:
                found = dict(
                    zip(warm, self._search([codes[n] for n in warm], k, [masks[n] for n in warm]), strict=True)
                )
            for row in range(len(histories)):
                if row not in found:
                    found[row] = self._top(self._popularity_S, k, masks[row])
        return [found[row][0] for row in range(len(histories))], [found[row][1] for row in range(len(histories))]

    def similar(self, item_id: str, k: int, allowed: Bools | None = None) -> tuple[Ints, Floats]:
        """Slots and scores of the items most like `item_id`, itself left out; KeyError for one never seen."""
        with self._lock:
            slot = self._slots[item_id]
            if isinstance(self.retriever, VectorRetriever):
                scores_S = self._units_SD @ self._units_SD[slot]
            else:
                scores_I = np.zeros(len(self.vocabulary), np.float32)
                for code, weight in zip(self._neighbours_SK[slot], self._weights_SK[slot], strict=True):
                    if weight > 0:
                        scores_I += weight * self.retriever.similarity(int(code))
                scores_S = self._extend(scores_I[None])[0]
            others_S = self._mask(allowed)
            others_S[slot] = False
            return self._top(scores_S, k, others_S)

    def popular(self, k: int, allowed: Bools | None = None) -> tuple[Ints, Floats]:
        """Slots and scores by training interactions, what a cold start sees."""
        with self._lock:
            return self._top(self._popularity_S, k, allowed)

    def score(self, histories: Sequence[Codes]) -> Floats:
        """scores_BS of every slot, for evaluation; histories of codes, an empty one scored by popularity."""
        with self._lock:
            scores_BS = self._score(histories)
            cold = [row for row, history in enumerate(histories) if not len(history)]
            scores_BS[cold] = self._popularity_S
            return scores_BS

    def codes(self, item_ids: Sequence[str]) -> Codes:
        """Token codes of a history; an untrained item speaks through its nearest neighbour, or not at all."""
        slots = [self._slots.get(item_id, UNKNOWN) for item_id in item_ids]
        known = np.array([slot for slot in slots if slot != UNKNOWN and self._weights_SK[slot, 0] > 0], np.int64)
        return collapse(self._neighbours_SK[known, 0] if len(known) else np.zeros(0, np.int32))

    def upsert(self, item: Mapping[str, Any]) -> int:
        """Make an item (fields of the items table) retrievable at once; returns its slot."""
        return self.upsert_many([item])[0]

    def upsert_many(self, items: Sequence[Mapping[str, Any]]) -> list[int]:
        """As `upsert`; the last of several with one item_id counts."""
        unique = {str(item["item_id"]): item for item in items}
        with self._lock:
            for item_id in unique:
                if item_id not in self._slots:
                    self._add(item_id)
            slots = {item_id: self._slots[item_id] for item_id in unique}
            cold = [item_id for item_id, slot in slots.items() if not self._trained(slot)]
            self._live_S[list(slots.values())] = True
            if cold:
                places = [slots[item_id] for item_id in cold]
                found = self.regression.neighbours([unique[item_id] for item_id in cold])
                self._neighbours_SK[places], self._weights_SK[places] = found
            if self._index is not None:
                self._index.upsert(list(slots), self._vectors(np.array(list(slots.values()), np.int64)))
            self._refresh()
            return [self._slots[str(item["item_id"])] for item in items]

    def remove(self, item_id: str) -> None:
        """No answer holds the item until it is upserted again; nothing happens where it is unknown."""
        with self._lock:
            slot = self._slots.get(item_id)
            if slot is None:
                return
            self._live_S[slot] = False
            if self._index is not None:
                self._index.delete(item_id)

    def _add(self, item_id: str) -> None:
        self._slots[item_id] = len(self.item_ids)
        self.item_ids.append(item_id)
        self._live_S = np.append(self._live_S, True)
        self._neighbours_SK = np.vstack([self._neighbours_SK, np.zeros((1, NEIGHBOURS), np.int32)])
        self._weights_SK = np.vstack([self._weights_SK, np.zeros((1, NEIGHBOURS), np.float32)])

    def _trained(self, slot: int) -> bool:
        return slot < len(self.counts_I) and bool(self.counts_I[slot] > 0)

    def _refresh(self) -> None:
        """Recompute what is derived from the slots."""
        # Between 0 and 1, so that the ranker, which learns from warm users' scores, does not saturate on cold ones.
        share_I = np.log1p(self.counts_I) / np.log1p(max(int(self.counts_I.max(initial=0)), 1))
        self._popularity_S = self._extend(share_I[None].astype(np.float32))[0]
        self._order_S = np.argsort(np.argsort(np.array(self.item_ids, dtype=object), kind="stable"))
        if isinstance(self.retriever, VectorRetriever):
            self._vectors_SD = self._vectors(np.arange(len(self.item_ids)))
            norms_S1 = np.linalg.norm(self._vectors_SD, axis=1, keepdims=True)
            self._units_SD = self._vectors_SD / np.maximum(norms_S1, 1e-12)

    def _vectors(self, slots: Ints) -> Floats:
        assert isinstance(self.retriever, VectorRetriever)
        neighbours_SKD = self.retriever.item_vectors_ID[self._neighbours_SK[slots]]
        return np.einsum("skd,sk->sd", neighbours_SKD, self._weights_SK[slots]).astype(np.float32)

    def _build_index(self) -> FlatIndex | None:
        if not isinstance(self.retriever, VectorRetriever):
            return None
        return FlatIndex.build(self.item_ids, self._vectors(np.arange(len(self.item_ids))))

    def _extend(self, scores_BI: Floats) -> Floats:
        """Scores of the vocabulary as scores of every slot."""
        scores_BS = np.zeros((len(scores_BI), len(self.item_ids)), np.float32)
        scores_BS[:, : scores_BI.shape[1]] = scores_BI
        cold = self._cold_slots()
        if len(cold):
            scores_BS[:, cold] = np.einsum(
                "bsk,sk->bs", scores_BI[:, self._neighbours_SK[cold]], self._weights_SK[cold]
            )
        return scores_BS

    def _cold_slots(self) -> Ints:
        return np.concatenate([np.flatnonzero(self.counts_I == 0), np.arange(len(self.counts_I), len(self.item_ids))])

    def _mask(self, allowed: Bools | None) -> Bools:
        """`allowed` over all slots of now, without the removed ones."""
        mask_S = self._live_S.copy()
        if allowed is not None:
            mask_S[: len(allowed)] &= allowed[: len(mask_S)]
            mask_S[len(allowed) :] = False
        return mask_S

    def _top(self, scores_S: Floats, k: int, allowed: Bools | None) -> tuple[Ints, Floats]:
        slots = np.flatnonzero(self._mask(allowed))
        best = slots[top_k(scores_S[None, slots], k, self._order_S[slots])[0]]
        return best, scores_S[best]

    def _score(self, histories: Sequence[Codes]) -> Floats:
        if isinstance(self.retriever, VectorRetriever):
            vectors_BD, gains = self.retriever.users(histories)
            return with_gains(vectors_BD @ self._vectors_SD.T, gains)
        return self._extend(self.retriever.score(histories))

    def _search(self, histories: list[Codes], k: int, masks: list[Bools | None]) -> list[tuple[Ints, Floats]]:
        if self._index is None or not isinstance(self.retriever, VectorRetriever):
            scores_BS = self._score(histories)
            return [self._top(scores_S, k, mask) for scores_S, mask in zip(scores_BS, masks, strict=True)]
        found = []
        for vector_D, gain, mask in zip(*self.retriever.users(histories), masks, strict=True):
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
        scores = np.concatenate([self._vectors_SD[own] @ vector_D + values[chosen], scores[others]])
        best = np.lexsort((self._order_S[slots], -scores))[:k]
        return slots[best], scores[best].astype(np.float32)
