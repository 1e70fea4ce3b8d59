"""What the ranker's features learn from the training window: price deciles, popularity, vocabularies."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from training.contracts.atomic import write_bytes
from training.features.item_facts import ItemFacts

PRICE_BANDS = 10
TRAITS = 6
TRAIT_ITEMS = 5
TRAIT_SHARE = 0.6
MOST_TRAITS = 4_096
VOCABULARIES = ("item", "leaf", "root", "brand", "trait")
CODE_NAMES = ("item", "leaf", "root", "brand", *(f"trait_{slot}" for slot in range(TRAITS)))
"""The columns of an item's codes; the traits share one vocabulary."""


class RankingState(BaseModel):
    """What the features learn from the training window; saved in the bundle as JSON.

    A code is 1 + the place in its vocabulary; 0 is unknown or none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    price_edges: dict[str, list[float]]
    popularity: dict[str, float]
    ordinal_time: bool
    vocabularies: dict[str, list[str]] = {}

    def save(self, path: Path) -> None:
        write_bytes(path, self.model_dump_json().encode())

    @classmethod
    def load(cls, path: Path) -> RankingState:
        return cls.model_validate_json(path.read_bytes())

    def sizes(self) -> dict[str, int]:
        """Rows of each vocabulary's table of embeddings, that of code 0 included."""
        return {name: 1 + len(self.vocabularies.get(name, ())) for name in VOCABULARIES}

    def band(self, facts: ItemFacts) -> float | None:
        """The price's decile within its leaf category, 0 to 1; None without a price."""
        if math.isnan(facts.price):
            return None
        edges = self.price_edges.get(facts.leaf) or self.price_edges.get("")
        return bisect_right(edges, facts.price) / (PRICE_BANDS - 1) if edges else None

    def codes(self, item_id: str, facts: ItemFacts) -> tuple[int, ...]:
        """The codes of CODE_NAMES; of more than TRAITS traits the commonest."""
        item, leaf, root, brand, trait = self._codes
        traits = sorted(filter(None, map(trait.get, facts.traits)))[:TRAITS]
        return (
            item.get(item_id, 0),
            leaf.get(facts.leaf, 0),
            root.get(facts.root, 0),
            brand.get(facts.brand, 0),
            *traits,
            *(0,) * (TRAITS - len(traits)),
        )

    @cached_property
    def _codes(self) -> list[dict[str, int]]:
        names = (self.vocabularies.get(vocabulary, ()) for vocabulary in VOCABULARIES)
        return [{name: code for code, name in enumerate(of_one, 1)} for of_one in names]


def fit_price_edges(items: Mapping[str, ItemFacts]) -> dict[str, list[float]]:
    """Price deciles of each leaf category, and under "" those of the whole shop."""
    prices: dict[str, list[float]] = {"": []}
    for facts in items.values():
        if not math.isnan(facts.price):
            prices[""].append(facts.price)
            prices.setdefault(facts.leaf, []).append(facts.price)
    inner = np.arange(1, PRICE_BANDS) / PRICE_BANDS
    return {leaf: np.quantile(values, inner).tolist() for leaf, values in prices.items() if values}


def fit_vocabularies(items: Mapping[str, ItemFacts], trained_ids: Iterable[str]) -> dict[str, list[str]]:
    """`trained_ids` are the items with history enough for an embedding of their own.

    A trait counts that at least TRAIT_ITEMS items have, and not nearly all; commonest first.
    """
    facts = items.values()
    traits = Counter(trait for one in facts for trait in one.traits)
    telling = [
        trait for trait, count in traits.items() if TRAIT_ITEMS <= count <= max(TRAIT_SHARE * len(items), TRAIT_ITEMS)
    ]
    return {
        "item": sorted(trained_ids),
        "leaf": sorted({one.leaf for one in facts} - {""}),
        "root": sorted({one.root for one in facts} - {""}),
        "brand": sorted({one.brand for one in facts} - {""}),
        "trait": sorted(telling, key=lambda trait: (-traits[trait], trait))[:MOST_TRAITS],
    }


def log_popularity(counts: Mapping[str, int]) -> dict[str, float]:
    """log(1 + interest events) of each item within the popularity window."""
    return {item_id: math.log1p(count) for item_id, count in counts.items()}
