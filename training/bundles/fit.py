"""Whether a shop's tables still hold the columns that a bundle learnt from."""

from __future__ import annotations

from collections.abc import Mapping

from training.bundles.manifest import Manifest
from training.contracts.errors import InputError, Problem
from training.contracts.shop import Shop

READ_COLUMNS = ("title", "description", "category", "brand", "price", "attributes", "tags")
"""What models read of an item to say what it is."""
TELLING_SHARE = 0.5


def filled_columns(shop: Shop) -> dict[str, float]:
    """By column of the items table that models read, the share of items that have a value."""
    filled, rows = dict.fromkeys(READ_COLUMNS, 0), 0
    for piece in shop.batches("items", ["item_id", *READ_COLUMNS]):
        rows += piece.num_rows
        for name in READ_COLUMNS:
            filled[name] += piece.num_rows - piece.column(name).null_count
    return {name: count / rows for name, count in filled.items() if count}


def refuse_other_columns(manifest: Manifest, shop: Shop) -> None:
    """Raise InputError where a column that most items had in training is absent or empty in `shop`.

    Bundles from before columns were noted, and shops without items, pass.
    """
    learnt, found = manifest.data.columns, filled_columns(shop)
    missing = [name for name, share in learnt.items() if share >= TELLING_SHARE and name not in found]
    if missing and shop.rows("items"):
        raise InputError(
            Problem(
                table="items",
                column=missing[0],
                problem=f"the bundle does not fit the shop: it learnt from {', '.join(missing)}, "
                f"which no item has here",
                found=_said(found),
                allowed=_said(learnt),
            )
        )


def _said(columns: Mapping[str, float]) -> str:
    return ", ".join(f"{name} ({share:.0%} of items)" for name, share in columns.items()) or "no such column"
