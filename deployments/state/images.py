"""Pictures of items that came while serving: what state keeps of one, and how many."""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple

MAX_PER_ITEM = 20
MAX_TOTAL_BYTES = 2_000_000_000
"""Of all pictures of a shop, by default."""
ALL = ""
"""The image id of an entry that is about all pictures of its item."""


class Kept(StrEnum):
    """What became of one picture."""

    STORED = "stored"
    UNCHANGED = "unchanged"
    FULL = "full"


class ImageEntry(NamedTuple):
    """One picture in the catalogue's log; without data: the item's pictures before it are gone."""

    seq: int
    item_id: str
    image_id: str
    data: bytes | None


def image_id_of(item_id: str, data: bytes) -> str:
    """The same picture of the same item is one picture, however often it comes."""
    return f"put-{blake2b(item_id.encode() + bytes(1) + data, digest_size=12).hexdigest()}"


def judge(
    offered: dict[str, bytes], held: set[str], *, total_bytes: int, max_total_bytes: int
) -> tuple[list[Kept], dict[str, bytes]]:
    """The outcome of each offered picture by id, and those to be written, of an item that has `held`."""
    outcomes, fresh = [], dict[str, bytes]()
    for image_id, data in offered.items():
        if image_id in held:
            outcomes.append(Kept.UNCHANGED)
        elif len(held) + len(fresh) >= MAX_PER_ITEM or total_bytes + len(data) > max_total_bytes:
            outcomes.append(Kept.FULL)
        else:
            outcomes.append(Kept.STORED)
            fresh[image_id] = data
            total_bytes += len(data)
    return outcomes, fresh
