"""The items: latent factors tied to leaf, style, price band and brand, and the table that shows them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from training.datasets.sample import columns
from training.datasets.sample.spec import DAY_US, EVENT_WEEKS, HISTORY_END_US, WEEK_US, SizeSpec, stream
from training.datasets.sample.taxonomy import (
    BRANDS,
    BRANDS_PER_LEAF,
    COLOURS,
    LEAVES,
    MATERIALS,
    NEEDS,
    STYLE_NAMES,
    STYLES,
)

TASTE_DIMS = 3
TIERS = ("value", "standard", "premium")


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """N items as columns; codes index taxonomy's tuples. `new_N` items have arrived after the last event."""

    leaf_N: np.ndarray
    style_N: np.ndarray
    brand_N: np.ndarray
    tier_N: np.ndarray
    colour_N: np.ndarray
    material_N: np.ndarray
    price_N: np.ndarray
    cost_N: np.ndarray
    quality_N: np.ndarray
    log_popularity_N: np.ndarray
    taste_ND: np.ndarray
    elasticity_N: np.ndarray
    refill_weeks_N: np.ndarray
    new_N: np.ndarray

    def __len__(self) -> int:
        return len(self.leaf_N)

    @property
    def shelf_N(self) -> np.ndarray:
        """The (leaf, style) cell of each item."""
        return self.leaf_N * len(STYLE_NAMES) + self.style_N

    @property
    def log_price_rank_N(self) -> np.ndarray:
        """log(price / the leaf's reference price)."""
        return np.log(self.price_N / np.array([leaf.price for leaf in LEAVES])[self.leaf_N])


def draw_catalogue(spec: SizeSpec, seed: int) -> Catalogue:
    rng = stream(seed, 1)
    shelves = _shelves(spec.items, rng)
    leaf_N, style_N = np.divmod(shelves, len(STYLE_NAMES))
    brand_N, brand_tiers = _brands(leaf_N, rng)
    tier_N = np.clip(brand_tiers[brand_N] + rng.choice(3, spec.items, p=(0.15, 0.7, 0.15)) - 1, 0, 2)
    price_N = _prices(leaf_N, tier_N, rng)
    brand_vectors = rng.normal(size=(len(BRANDS), TASTE_DIMS))
    refill = np.array([leaf.refill_weeks or np.nan for leaf in LEAVES])
    return Catalogue(
        leaf_N=leaf_N,
        style_N=style_N,
        brand_N=brand_N,
        tier_N=tier_N,
        colour_N=rng.integers(len(COLOURS), size=spec.items),
        material_N=rng.integers(len(MATERIALS), size=spec.items),
        price_N=price_N,
        cost_N=np.round(price_N * rng.uniform(0.45, 0.7, spec.items), 2),
        quality_N=np.clip(rng.normal(0, 0.7, spec.items) + 0.25 * (tier_N - 1), -2, 2),
        log_popularity_N=_zipf(spec.items, rng),
        taste_ND=brand_vectors[brand_N] + 0.25 * rng.normal(size=(spec.items, TASTE_DIMS)),
        elasticity_N=-np.exp(rng.normal(np.log(1.6), 0.3, spec.items)),
        refill_weeks_N=refill[leaf_N] * np.exp(rng.normal(0, 0.15, spec.items)),
        new_N=_newcomers(shelves, rng),
    )


def _shelves(items: int, rng: np.random.Generator) -> np.ndarray:
    """The shelf of each item: at least 70 % of an even share for every shelf."""
    count = len(LEAVES) * len(STYLE_NAMES)
    even = np.arange(items) % count
    return rng.permutation(np.where(np.arange(items) < 0.7 * items, even, rng.integers(count, size=items)))


def _brands(leaf_N: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A brand for each item out of its leaf's own, and the price tier of every brand."""
    of_leaf = np.stack([rng.choice(len(BRANDS), BRANDS_PER_LEAF, replace=False) for _ in LEAVES])
    tiers = rng.permutation(np.arange(len(BRANDS)) % len(TIERS))
    return of_leaf[leaf_N, rng.integers(BRANDS_PER_LEAF, size=len(leaf_N))], tiers


def _prices(leaf_N: np.ndarray, tier_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A ladder of price points ending in .90 or .99 around the leaf's reference price."""
    reference = np.array([leaf.price for leaf in LEAVES])[leaf_N]
    ladder = np.array([0.62, 1.0, 1.6])[tier_N] * np.exp(rng.normal(0, 0.12, len(leaf_N)))
    return np.maximum(np.round(reference * ladder), 2) - np.where(tier_N == 2, 0.01, 0.10)


def _zipf(items: int, rng: np.random.Generator) -> np.ndarray:
    """log of Zipf-Mandelbrot weights in random order, 0 on average."""
    log_weights = -0.9 * np.log(np.arange(items) + 3.0 + items / 400)
    return rng.permutation(log_weights - log_weights.mean())


def _newcomers(shelf_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """3 % of the items, never one of the first three of its shelf."""
    order = np.argsort(shelf_N, kind="stable")
    starts = np.searchsorted(shelf_N[order], shelf_N[order])
    settled = np.empty(len(shelf_N), bool)
    settled[order] = np.arange(len(order)) - starts < 3
    return ~settled & (rng.random(len(shelf_N)) < 0.03)


def items_table(catalogue: Catalogue, stock_N: np.ndarray, pictured: int, seed: int) -> pa.Table:
    """The items table; the first `pictured` items have a shop view."""
    rng = stream(seed, 2)
    count = len(catalogue)
    age_us = rng.integers(EVENT_WEEKS * WEEK_US, 4 * EVENT_WEEKS * WEEK_US, count)
    created = HISTORY_END_US - np.where(catalogue.new_N, rng.integers(0, DAY_US, count), age_us)
    numbers = np.arange(count)
    titles, descriptions, tags = _texts(catalogue, rng)
    return pa.table(
        {
            "item_id": columns.ids("i", numbers),
            "title": titles,
            "description": descriptions,
            "category": [[LEAVES[leaf].root, LEAVES[leaf].name] for leaf in catalogue.leaf_N],
            "brand": columns.words(BRANDS, catalogue.brand_N),
            "price": catalogue.price_N,
            "currency": columns.words(("EUR",), np.zeros(count, int)),
            "cost": catalogue.cost_N,
            "stock": stock_N.astype(np.int64),
            "attributes": columns.string_map(
                {
                    "style": columns.words(STYLE_NAMES, catalogue.style_N),
                    "colour": columns.words(tuple(COLOURS), catalogue.colour_N),
                    "material": columns.words(MATERIALS, catalogue.material_N),
                    "tier": columns.words(TIERS, catalogue.tier_N),
                }
            ),
            "tags": tags,
            "image": image_paths(np.where(numbers < pictured, numbers, -1), np.zeros(count, int)),
            "created_at": columns.times(created),
            "updated_at": columns.times(np.full(count, HISTORY_END_US)),
        }
    )


def image_paths(item_numbers: np.ndarray, views: np.ndarray) -> pa.Array:
    """pictures/<item_id>-<view>.jpg; null where the item number is negative. View 0 is the shop's own."""
    known = pa.array(item_numbers >= 0)
    names = columns.ids("pictures/i", np.maximum(item_numbers, 0))
    ends = columns.ids("-", views, 1)
    joined = pa.compute.binary_join_element_wise(names, ends, ".jpg", "")
    return pa.compute.if_else(known, joined, pa.scalar(None, pa.string()))


def needs_of_leaf() -> list[list[int]]:
    """The needs each leaf can serve."""
    return [[row for row, need in enumerate(NEEDS) if leaf.name in need.leaves] for leaf in LEAVES]


def _texts(catalogue: Catalogue, rng: np.random.Generator) -> tuple[list[str], list[str], list[list[str]]]:
    """Titles, descriptions and tags: style words everywhere, words of a need the leaf serves in the description."""
    serving = needs_of_leaf()
    picks = rng.random((len(catalogue), 4))
    titles, descriptions, tags = [], [], []
    colours = tuple(COLOURS)
    for item in range(len(catalogue)):
        leaf, style = LEAVES[catalogue.leaf_N[item]], STYLE_NAMES[catalogue.style_N[item]]
        adjectives, needs = STYLES[style], serving[catalogue.leaf_N[item]]
        adjective = adjectives[int(picks[item, 0] * len(adjectives))]
        need = NEEDS[needs[int(picks[item, 1] * len(needs))]] if needs else NEEDS[0]
        word = need.words[int(picks[item, 2] * len(need.words))]
        model = f"{'ABCDEHKLMRSTVX'[item % 14]}{100 + int(picks[item, 3] * 900)}"
        colour, material = colours[catalogue.colour_N[item]], MATERIALS[catalogue.material_N[item]]
        brand = BRANDS[catalogue.brand_N[item]]
        titles.append(f"{brand} {adjective} {colour} {leaf.noun} {model}")
        descriptions.append(
            f"A {adjective} {leaf.noun} by {brand}, {style} in style, {colour}, {material}. "
            f"Made for {need.name}: {word}."
        )
        tags.append([style, need.name])
    return titles, descriptions, tags
