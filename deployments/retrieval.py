"""Retrieval: candidates for a user, or like an item, among what the shop can sell now."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from deployments.catalogue import PAGE_ITEMS
from deployments.live import LiveShop
from deployments.messages import Candidates, RetrievalQuery
from deployments.slot_masks import Bools, SlotMasks
from deployments.state.records import Row
from training.bundles.manifest import Manifest
from training.models.recommender import Recommender

Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]
MOST_CONTEXT = 5
"""Of a long cart, the newest items say what it is about."""


class Plan(NamedTuple):
    """What a query wants scored by its history: masks over slots with how many of each, and likeness by slot."""

    parts: list[tuple[Bools, int]]
    likeness: dict[int, float]


class Retrieval:
    """One bundle's recommender, kept in step with the live catalogue."""

    def __init__(self, recommender: Recommender, live: LiveShop, *, from_seq: int) -> None:
        self.recommender, self.live = recommender, live
        self.masks = SlotMasks(recommender, live)
        self._seq = from_seq
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path, manifest: Manifest, live: LiveShop) -> Retrieval:
        """The bundle's model with every later item of the catalogue, warmed up."""
        recommender = Recommender.load(folder)
        known_seq = manifest.catalogue_seq
        retrieval = cls(recommender, live, from_seq=known_seq if known_seq <= live.store.catalogue_seq() else 0)
        retrieval.follow()
        few = tuple(recommender.item_ids[:3])
        retrieval.answer(
            [RetrievalQuery("", "history", history, (0,) * len(history), few[:1]) for history in ((), few)]
        )
        return retrieval

    def follow(self) -> None:
        """Make later items retrievable; deleted and sold-out ones are masked by the catalogue."""
        seq, news = self._seq, list[Row]()
        while entries := self.live.store.catalogue_since(seq, limit=PAGE_ITEMS):
            seq = entries[-1].seq
            news += [entry.item for entry in entries if entry.item and not self.recommender.trained(entry.item_id)]
        if news:
            self.recommender.upsert_many(news)
        self._seq = seq

    def answer(self, queries: Sequence[RetrievalQuery]) -> list[Candidates]:
        """All that is scored by history shares one pass of the model."""
        with self._lock:
            age_ms = self.live.age_ms()
            plans = [self._plan(query) for query in queries]
            asking = [query for query, plan in zip(queries, plans, strict=True) for _ in plan.parts]
            found = iter(self._retrieve(asking, [part for plan in plans for part in plan.parts]))
            return [
                self._candidates(query, plan, [next(found) for _ in plan.parts], age_ms)
                for query, plan in zip(queries, plans, strict=True)
            ]

    def _retrieve(self, asking: list[RetrievalQuery], parts: list[tuple[Bools, int]]) -> list[Found]:
        if not parts:
            return []
        most = max(count for _, count in parts)
        histories = [(*query.history, *query.context) for query in asking]
        times_us = [(*query.history_us, *(query.as_of_us for _ in query.context)) for query in asking]
        slots, scores = self.recommender.retrieve(histories, most, [mask_S for mask_S, _ in parts], times_us)
        return [(slots[row][:count], scores[row][:count]) for row, (_, count) in enumerate(parts)]

    def _plan(self, query: RetrievalQuery) -> Plan:
        if query.mode == "given":
            return Plan([(self.masks.only(query.given), len(query.given))], {})
        allowed_S = self.masks.allowed(query)
        likeness = self._likeness(query, allowed_S)
        if query.mode == "similar":
            return Plan([], likeness)
        if not likeness:
            return Plan([(allowed_S, query.most)], {})
        like_S = np.zeros(len(allowed_S), np.bool_)
        like_S[sorted(likeness, key=lambda slot: -likeness[slot])[: query.most // 2]] = True
        return Plan([(allowed_S, query.most - query.most // 2), (like_S, query.most // 2)], likeness)

    def _likeness(self, query: RetrievalQuery, allowed_S: Bools) -> dict[int, float]:
        """Of the items most like the context, by slot: 1 for the likest, 0 and less left out."""
        best: dict[int, float] = {}
        for item_id in query.context[-MOST_CONTEXT:]:
            if self.recommender.slot(item_id) is None:
                continue
            slots, scores = self.recommender.similar(item_id, query.most, allowed_S)
            for slot, score in zip(slots.tolist(), scores.tolist(), strict=True):
                best[slot] = max(score, best.get(slot, score))
        if query.mode == "similar":
            return best
        top = max(best.values(), default=0.0)
        return {slot: score / top for slot, score in best.items() if score > 0}

    def _candidates(self, query: RetrievalQuery, plan: Plan, found: list[Found], age_ms: float) -> Candidates:
        """The parts together, each item once; every given item, the unscored ones with the lowest score."""
        if query.mode == "similar":
            scored = plan.likeness
        else:
            scored = {
                slot: score
                for slots, scores in found
                for slot, score in zip(slots.tolist(), scores.tolist(), strict=True)
            }
        item_ids = [self.recommender.item_ids[slot] for slot in scored]
        known = set(item_ids)
        unscored = [item_id for item_id in query.given if item_id not in known]
        floor = min(scored.values(), default=0.0)
        scores_C = np.array([*scored.values(), *[floor] * len(unscored)], np.float32)
        affinity_C = None
        if plan.likeness and query.mode == "history":
            affinity_C = np.array([plan.likeness.get(slot, 0.0) for slot in scored], np.float32)
        return Candidates(query.version, item_ids + unscored, scores_C, affinity_C, age_ms)
