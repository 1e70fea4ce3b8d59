"""What the ranker reads of an item, from the items table or the live catalogue."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from training.contracts.shop import Shop

FACT_COLUMNS = ("category", "brand", "price", "created_at", "attributes", "tags")


class ItemFacts(NamedTuple):
    """What the ranker reads of an item; absent text is empty, absent numbers are NaN.

    `traits` are its attributes as `name=value` and its tags as `#tag`, sorted.
    """

    leaf: str = ""
    root: str = ""
    brand: str = ""
    price: float = math.nan
    created_us: float = math.nan
    traits: tuple[str, ...] = ()


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
        traits=_traits(item),
    )


def items_of(shop: Shop) -> Mapping[str, ItemFacts]:
    """Facts of every item of the shop; empty where it has no items table."""
    pieces = shop.batches("items", ["item_id", *FACT_COLUMNS])
    return {row["item_id"]: item_facts(row) for piece in pieces for row in piece.to_pylist()}


def _traits(item: Mapping[str, Any]) -> tuple[str, ...]:
    attributes = item.get("attributes") or {}
    pairs = attributes.items() if isinstance(attributes, Mapping) else attributes
    tags = item.get("tags") or ()
    return tuple(sorted({*(f"{name}={value}" for name, value in pairs), *(f"#{tag}" for tag in tags)}))
