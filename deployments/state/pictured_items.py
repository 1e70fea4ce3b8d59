"""What a shop's pictures are of, where no table lists its items."""

from __future__ import annotations

from training.contracts.shop import Shop

COLUMNS = ("item_id", "label", "boxes")


def pictured_items(shop: Shop) -> list[str]:
    """The items of the images table, by name: an image's item, else its label, else the labels of its boxes."""
    found = set[str]()
    for batch in shop.batches("images", COLUMNS):
        for row in batch.to_pylist():
            one = row["item_id"] or row["label"]
            found.update([one] if one else [box["label"] for box in row["boxes"] or () if box["label"]])
    return sorted(found)
