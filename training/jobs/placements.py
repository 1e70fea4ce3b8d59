"""What a shop put before people's eyes: items displayed, mailed or bannered, by place and week."""

from __future__ import annotations

from collections import defaultdict

import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.shop import Shop

WEEK_US = 7 * 86_400_000_000


class Placements:
    """Items displayed, mailed or bannered by place and week, and where each user's events took place."""

    def __init__(self, shop: Shop) -> None:
        self._items: dict[tuple[str, int], list[str]] = defaultdict(list)
        self._places: dict[tuple[str, int], str] = {}
        if not shop.has("placements") or shop.has("recommendations"):
            return
        table = shop.table("placements", ["item_id", "location", "timestamp", "kind"])
        table = table.filter(pc.and_(pc.is_valid(table["location"]), pc.not_equal(table["kind"], "coupon")))
        starts_us = table["timestamp"].cast(pa.int64()).to_pylist()
        self._shift_us = starts_us[0] % WEEK_US if starts_us else 0
        for item_id, place, start_us in zip(
            table["item_id"].to_pylist(), table["location"].to_pylist(), starts_us, strict=True
        ):
            self._items[(place, self._week(start_us))].append(item_id)
        places = {place for place, _ in self._items}
        for piece in shop.batches("events", ["user_id", "timestamp", "context"]):
            moments_us = piece["timestamp"].cast(pa.int64()).to_pylist()
            for user, moment_us, context in zip(
                piece["user_id"].to_pylist(), moments_us, piece["context"].to_pylist(), strict=True
            ):
                here = next((value for _, value in context or () if value in places), None)
                if here is not None:
                    self._places[(user, moment_us)] = here

    def at(self, user: str, moment_us: int) -> list[str]:
        """What was placed where the user's event of that moment took place."""
        place = self._places.get((user, moment_us))
        return self._items.get((place, self._week(moment_us)), []) if place is not None else []

    def _week(self, moment_us: int) -> int:
        return (moment_us - self._shift_us) // WEEK_US
