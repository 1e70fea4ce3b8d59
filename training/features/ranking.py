"""The ranker's features of a candidate: one function, called by training, by serving and by the parity test."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from training.contracts.atomic import write_bytes
from training.features.profile import Profile

RECENT_VIEWS = 10
POPULARITY_DAYS = 28
PRICE_BANDS = 10
DAY_US = 86_400_000_000
FEATURE_NAMES = (
    "retrieval_score",
    "popularity",
    "seen_recency",
    "user_recency",
    "price_band",
    "price_gap",
    "category_affinity",
    "root_affinity",
    "brand_affinity",
    "item_age",
)


class ItemFacts(NamedTuple):
    """What the ranker reads of an item; absent text is empty, absent numbers are NaN."""

    leaf: str = ""
    root: str = ""
    brand: str = ""
    price: float = math.nan
    created_us: float = math.nan


NO_FACTS = ItemFacts()


def item_facts(item: Mapping[str, Any]) -> ItemFacts:
    """Facts of one item of the items table or the live catalogue; times are datetimes."""
    category = item.get("category") or ()
    price, created = item.get("price"), item.get("created_at")
    return ItemFacts(
        leaf="/".join(category),
        root=category[0] if category else "",
        brand=item.get("brand") or "",
        price=math.nan if price is None else float(price),
        created_us=math.nan if created is None else created.timestamp() * 1e6,
    )


class RankingState(BaseModel):
    """What the features learn from the training window; saved in the bundle as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    price_edges: dict[str, list[float]]
    popularity: dict[str, float]
    ordinal_time: bool

    def save(self, path: Path) -> None:
        write_bytes(path, self.model_dump_json().encode())

    @classmethod
    def load(cls, path: Path) -> RankingState:
        return cls.model_validate_json(path.read_bytes())


def fit_price_edges(items: Mapping[str, ItemFacts]) -> dict[str, list[float]]:
    """Price deciles of each leaf category, and under "" those of the whole shop."""
    prices: dict[str, list[float]] = {"": []}
    for facts in items.values():
        if not math.isnan(facts.price):
            prices[""].append(facts.price)
            prices.setdefault(facts.leaf, []).append(facts.price)
    inner = np.arange(1, PRICE_BANDS) / PRICE_BANDS
    return {leaf: np.quantile(values, inner).tolist() for leaf, values in prices.items() if values}


def log_popularity(counts: Mapping[str, int]) -> dict[str, float]:
    """log(1 + interest events) of each item within the popularity window."""
    return {item_id: math.log1p(count) for item_id, count in counts.items()}


def ranking_features(
    *,
    profile: Profile,
    item_ids: Sequence[str],
    retrieval_scores_C: npt.NDArray[np.float32],
    items: Mapping[str, ItemFacts],
    state: RankingState,
    as_of_us: int,
    popularity: Mapping[str, float] | None = None,
) -> npt.NDArray[np.float32]:
    """Features [C, F] float32 of C candidates for one user at `as_of_us`, each row independent of the others.

    `popularity` replaces the state's own where a moment inside the training window is replayed.
    """
    popularity = state.popularity if popularity is None else popularity
    taste = _Taste(profile, items, state, as_of_us)
    rows = [taste.row(item_id, items.get(item_id, NO_FACTS), popularity) for item_id in item_ids]
    features_CF = np.empty((len(item_ids), len(FEATURE_NAMES)), np.float32)
    features_CF[:, 0] = retrieval_scores_C
    if rows:
        features_CF[:, 1:] = np.asarray(rows, np.float64)
    return features_CF


class _Taste:
    """The user's side of the features: what the last RECENT_VIEWS interest events have in common."""

    def __init__(self, profile: Profile, items: Mapping[str, ItemFacts], state: RankingState, as_of_us: int) -> None:
        recent = [items.get(item_id, NO_FACTS) for item_id in profile.item_ids[-RECENT_VIEWS:]]
        self.state, self.as_of_us, self.count = state, as_of_us, max(len(recent), 1)
        self.leaves = Counter(facts.leaf for facts in recent if facts.leaf)
        self.roots = Counter(facts.root for facts in recent if facts.root)
        self.brands = Counter(facts.brand for facts in recent if facts.brand)
        bands = [band for band in map(self.band, recent) if band is not None]
        self.mean_band = sum(bands) / len(bands) if bands else None
        self.last_seen_us = dict(zip(profile.item_ids, profile.timestamps_us, strict=True))
        self.user_recency = self.freshness(profile.newest_us)

    def band(self, facts: ItemFacts) -> float | None:
        """The price's decile within its leaf category, 0 to 1."""
        if math.isnan(facts.price):
            return None
        edges = self.state.price_edges.get(facts.leaf) or self.state.price_edges.get("")
        return bisect_right(edges, facts.price) / (PRICE_BANDS - 1) if edges else None

    def freshness(self, moment_us: int | None) -> float:
        """1 now, 1/2 a day ago, 0 never; constant where time is only an order."""
        if moment_us is None:
            return 0.0
        return 1.0 if self.state.ordinal_time else 1.0 / (1.0 + max(self.as_of_us - moment_us, 0) / DAY_US)

    def row(self, item_id: str, facts: ItemFacts, popularity: Mapping[str, float]) -> tuple[float, ...]:
        band = self.band(facts)
        aged = not (self.state.ordinal_time or math.isnan(facts.created_us))
        return (
            popularity.get(item_id, 0.0),
            self.freshness(self.last_seen_us.get(item_id)),
            self.user_recency,
            0.5 if band is None else band,
            0.0 if band is None or self.mean_band is None else abs(band - self.mean_band),
            self.leaves[facts.leaf] / self.count,
            self.roots[facts.root] / self.count,
            self.brands[facts.brand] / self.count,
            math.log1p(max(self.as_of_us - facts.created_us, 0.0) / DAY_US) if aged else 0.0,
        )
