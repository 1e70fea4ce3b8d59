"""What each item looks like: a silhouette by leaf, colour by attribute, and marks that are the item's alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from training.datasets.sample import columns
from training.datasets.sample.catalogue import Catalogue, image_paths
from training.datasets.sample.spec import SizeSpec, stream
from training.datasets.sample.taxonomy import COLOURS, LEAVES

PATTERNS = ("stripes", "dots", "checks", "waves", "triangles", "blocks")
SHOP_VIEW = 0
TRAIN_VIEWS = 2


@dataclass(frozen=True, kw_only=True)
class ItemLook:
    """An item's visual identity; `mark_seed` alone decides its proportions, pattern and marks."""

    shape: str
    base: tuple[int, int, int]
    second: tuple[int, int, int]
    accent: tuple[int, int, int]
    pattern: str
    mark_seed: int


def look_of(document: dict[str, Any]) -> ItemLook:
    """A look read back from JSON."""
    colours = {name: tuple(document[name]) for name in ("base", "second", "accent")}
    return ItemLook(**{**document, **colours})


def draw_looks(catalogue: Catalogue, seed: int) -> list[ItemLook]:
    """One look per item: the base colour follows the item's colour attribute, everything else is its own."""
    rng = stream(seed, 7)
    count = len(catalogue)
    palette = np.array(list(COLOURS.values()))
    base = np.clip(palette[catalogue.colour_N] + rng.integers(-28, 29, (count, 3)), 10, 245)
    free = rng.integers(20, 236, (count, 2, 3))
    pattern = rng.integers(len(PATTERNS), size=count)
    marks = rng.integers(2**31, size=count)
    return [
        ItemLook(
            shape=LEAVES[catalogue.leaf_N[item]].shape,
            base=_rgb(base[item]),
            second=_rgb(free[item, 0]),
            accent=_rgb(free[item, 1]),
            pattern=PATTERNS[pattern[item]],
            mark_seed=int(marks[item]),
        )
        for item in range(count)
    ]


def _rgb(values: np.ndarray) -> tuple[int, int, int]:
    return int(values[0]), int(values[1]), int(values[2])


@dataclass(frozen=True, kw_only=True)
class Photos:
    """P pictures: of which item, which of its views, and the seed of pose, light, background and clutter."""

    item_P: np.ndarray
    view_P: np.ndarray
    seed_P: np.ndarray


def draw_photos(spec: SizeSpec, seed: int) -> Photos:
    """One shop view (seed 0: clean, frontal) and several shoppers' views of each pictured item."""
    views = 1 + spec.shopper_views
    item_P = np.repeat(np.arange(spec.pictured_items), views)
    view_P = np.tile(np.arange(views), spec.pictured_items)
    seed_P = stream(seed, 8).integers(1, 2**31, len(item_P))
    return Photos(item_P=item_P, view_P=view_P, seed_P=np.where(view_P == SHOP_VIEW, 0, seed_P))


def images_table(photos: Photos) -> pa.Table:
    """The images table: the label is the item; the shop view and a shopper's are train, the other shoppers' test."""
    test = (photos.view_P >= TRAIN_VIEWS).astype(int)
    item_ids = columns.ids("i", photos.item_P)
    return pa.table(
        {
            "image_id": pa.compute.binary_join_element_wise(item_ids, columns.ids("-", photos.view_P, 1), ""),
            "item_id": item_ids,
            "path": image_paths(photos.item_P, photos.view_P),
            "label": item_ids,
            "split": columns.words(("train", "test"), test),
        }
    )
