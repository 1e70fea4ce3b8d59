"""What the sample shop sells and why people come: leaves, styles, brands, needs and scenarios."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Leaf:
    """A leaf category; `season_week` is the ISO week of its peak (None: all year), `refill_weeks` of consumables."""

    root: str
    name: str
    noun: str
    shape: str
    price: float
    season_week: int | None = None
    refill_weeks: float | None = None
    warm_effect: float = 0.0


LEAVES: tuple[Leaf, ...] = (
    Leaf("Home", "Desk Chairs", "desk chair", "chair", 180.0),
    Leaf("Home", "Desks", "desk", "table", 240.0),
    Leaf("Home", "Lamps", "lamp", "lamp", 55.0, 48),
    Leaf("Home", "Bedding", "duvet set", "box", 70.0, 46, None, -0.10),
    Leaf("Home", "Mattress Toppers", "mattress topper", "box", 120.0),
    Leaf("Home", "Storage", "storage box", "box", 25.0, 2),
    Leaf("Baby", "Diapers", "pack of diapers", "box", 18.0, None, 3.0),
    Leaf("Baby", "Baby Clothing", "romper", "garment", 22.0),
    Leaf("Baby", "Strollers", "stroller", "chair", 320.0, 16),
    Leaf("Baby", "Feeding", "baby bottle", "bottle", 14.0),
    Leaf("Kitchen", "Cookware", "saucepan", "pan", 60.0, 50),
    Leaf("Kitchen", "Coffee", "coffee beans", "bag", 12.0, None, 4.0),
    Leaf("Kitchen", "Tableware", "plate set", "round", 45.0, 50),
    Leaf("Fashion", "Jackets", "jacket", "garment", 110.0, 43, None, -0.25),
    Leaf("Fashion", "Dresses", "dress", "garment", 65.0, 22, None, 0.15),
    Leaf("Fashion", "Sneakers", "sneaker", "shoe", 90.0, 15),
    Leaf("Sports", "Yoga Mats", "yoga mat", "round", 35.0, 3),
    Leaf("Sports", "Running Shoes", "running shoe", "shoe", 120.0, 17, None, 0.10),
    Leaf("Sports", "Hiking Packs", "backpack", "bag", 95.0, 24, None, 0.15),
    Leaf("Health", "Heat Pads", "heat pad", "box", 30.0, 5, None, -0.20),
    Leaf("Health", "Vitamins", "vitamin tablets", "bottle", 16.0, 6, 5.0),
    Leaf("Health", "Skin Care", "face cream", "bottle", 24.0, None, 6.0),
    Leaf("Electronics", "Headphones", "headphones", "round", 130.0, 49),
    Leaf("Electronics", "Keyboards", "keyboard", "table", 85.0, 49),
    Leaf("Pets", "Dog Food", "dog food", "bag", 28.0, None, 4.0),
    Leaf("Pets", "Pet Beds", "pet bed", "round", 48.0),
    Leaf("Garden", "Garden Tools", "garden shears", "tool", 32.0, 18, None, 0.25),
    Leaf("Garden", "Barbecues", "barbecue", "pan", 190.0, 23, None, 0.35),
)
LEAF_INDEX: dict[str, int] = {leaf.name: index for index, leaf in enumerate(LEAVES)}

STYLES: dict[str, tuple[str, ...]] = {
    "minimalist": ("plain", "clean", "pared-back"),
    "classic": ("timeless", "elegant", "traditional"),
    "playful": ("cheerful", "bold", "fun"),
    "rustic": ("natural", "rough-hewn", "cosy"),
    "technical": ("engineered", "sleek", "high-performance"),
}
STYLE_NAMES = tuple(STYLES)

BRANDS: tuple[str, ...] = (
    "Aldervik", "Bergamo", "Calla", "Dornfeld", "Elmhurst", "Fjellro", "Granary", "Hollin", "Isola", "Juniper",
    "Kestrel", "Lumen", "Marlow", "Nordwind", "Ostara", "Pellworm", "Quill", "Rowanberry", "Sable", "Tamsin",
    "Umbra", "Verdano", "Westermark", "Zephyr",
)  # fmt: skip
BRANDS_PER_LEAF = 6
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (200, 45, 50), "orange": (230, 125, 40), "yellow": (235, 200, 60), "green": (60, 140, 75),
    "teal": (40, 140, 145), "blue": (50, 95, 180), "navy": (35, 45, 95), "purple": (125, 70, 155),
    "pink": (225, 130, 165), "brown": (125, 85, 55), "grey": (130, 132, 138), "black": (45, 45, 48),
    "white": (232, 230, 224),
}  # fmt: skip
MATERIALS = ("oak", "steel", "cotton", "bamboo", "recycled plastic", "linen", "aluminium", "wool", "glass")


@dataclass(frozen=True)
class Need:
    """Why a person comes today: a journey over leaves (visited in this order more often than not) and its words."""

    name: str
    words: tuple[str, ...]
    leaves: tuple[str, ...]


NEEDS: tuple[Need, ...] = (
    Need("back relief", ("back pain", "posture", "ergonomic"), ("Desk Chairs", "Heat Pads", "Yoga Mats", "Desks")),
    Need("better sleep", ("sleep better", "restful nights", "soft"), ("Mattress Toppers", "Bedding", "Lamps")),
    Need("home office", ("work from home", "focus", "desk setup"), ("Desks", "Desk Chairs", "Keyboards", "Headphones")),
    Need("newborn care", ("newborn", "gentle", "first months"), ("Diapers", "Feeding", "Baby Clothing", "Skin Care")),
    Need("out with baby", ("on the go with baby", "walks", "safe"), ("Strollers", "Baby Clothing", "Feeding")),
    Need("new kitchen", ("first kitchen", "cooking", "everyday meals"), ("Cookware", "Tableware", "Storage", "Coffee")),
    Need("furnish rooms", ("new home", "small spaces", "tidy"), ("Storage", "Lamps", "Bedding", "Desks")),
    Need("get fit", ("training", "fitness", "stay active"), ("Running Shoes", "Yoga Mats", "Vitamins", "Headphones")),
    Need("hiking trip", ("trail", "outdoors", "weekend trip"), ("Hiking Packs", "Jackets", "Running Shoes")),
    Need("summer wardrobe", ("summer", "light", "holiday"), ("Dresses", "Sneakers", "Skin Care")),
    Need("winter wardrobe", ("winter", "warm", "cold days"), ("Jackets", "Sneakers", "Heat Pads", "Vitamins")),
    Need("new dog", ("puppy", "dog", "pet-friendly"), ("Dog Food", "Pet Beds", "Storage")),
    Need("garden season", ("garden", "balcony", "spring"), ("Garden Tools", "Barbecues", "Storage")),
    Need("host friends", ("guests", "party", "dinner"), ("Barbecues", "Tableware", "Cookware", "Coffee")),
    Need("self care", ("relax", "wellness", "calm"), ("Skin Care", "Vitamins", "Heat Pads", "Bedding")),
    Need("daily coffee", ("morning", "espresso", "aroma"), ("Coffee", "Tableware", "Cookware")),
)
NEED_INDEX: dict[str, int] = {need.name: index for index, need in enumerate(NEEDS)}
EVERYDAY_NEEDS = tuple(
    NEED_INDEX[name]
    for name in ("self care", "daily coffee", "summer wardrobe", "winter wardrobe", "get fit", "host friends")
)


@dataclass(frozen=True)
class Scenario:
    """A phase of life that opens needs for a while; `weeks` is its typical length."""

    name: str
    needs: tuple[str, ...]
    weeks: float


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("bad back at the office", ("back relief", "home office"), 14),
    Scenario("new parent", ("newborn care", "out with baby", "better sleep"), 30),
    Scenario("moving house", ("furnish rooms", "new kitchen", "home office"), 16),
    Scenario("new dog", ("new dog",), 26),
    Scenario("marathon plan", ("get fit", "back relief"), 20),
    Scenario("big trip", ("hiking trip", "summer wardrobe"), 12),
    Scenario("garden year", ("garden season", "host friends"), 20),
    Scenario("sleepless", ("better sleep", "self care"), 16),
)


# Where a journey goes next: the same leaf, the next of the need, any of the need, anything at all.
STAY, MOVE_ON, JUMP, STRAY = 0.60, 0.17, 0.05, 0.18


def journeys() -> np.ndarray:
    """P(next leaf | need, leaf), float64 [needs, leaves, leaves]; off its path a need leads to the path's start."""
    count = len(LEAVES)
    moves_NLL = np.full((len(NEEDS), count, count), STRAY / count)
    for row, need in enumerate(NEEDS):
        path = [LEAF_INDEX[name] for name in need.leaves]
        then_L = np.full(count, path[0])
        then_L[path] = path[1:] + path[:1]
        moves_NLL[row][:, path] += JUMP / len(path)
        moves_NLL[row, np.arange(count), np.arange(count)] += STAY
        moves_NLL[row, np.arange(count), then_L] += MOVE_ON
    return moves_NLL


def entries() -> np.ndarray:
    """P(first leaf | need), float64 [needs, leaves]: journeys mostly start at their beginning."""
    weights_NL = np.zeros((len(NEEDS), len(LEAVES)))
    for row, need in enumerate(NEEDS):
        for place, name in enumerate(need.leaves):
            weights_NL[row, LEAF_INDEX[name]] = 0.6**place
    return weights_NL / weights_NL.sum(1, keepdims=True)


def season(iso_week: np.ndarray) -> np.ndarray:
    """How much each leaf is in season, float64 [weeks, leaves], around 1."""
    peaks_L = np.array([-1 if leaf.season_week is None else leaf.season_week for leaf in LEAVES])
    wave_WL = 1 + 0.5 * np.cos(2 * np.pi * (iso_week[:, None] - peaks_L[None, :]) / 52)
    return np.where(peaks_L >= 0, wave_WL, 1.0)
