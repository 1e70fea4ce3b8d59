"""How large a sample shop is and when it lives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

REFERENCE = datetime(2026, 6, 30, tzinfo=UTC)
# Monday after the last observed week; every event and observed sale lies before it.
HISTORY_END = datetime(2026, 6, 29, tzinfo=UTC)
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
WEEK_US = 7 * DAY_US
HISTORY_END_US = int(HISTORY_END.timestamp()) * 1_000_000
EVENT_WEEKS = 52
FUTURE_WEEKS = 13
SLATE_SIZE = 6


@dataclass(frozen=True, kw_only=True)
class SizeSpec:
    """Counts of a sample shop; `pictured_items` are the items that have images."""

    items: int
    users: int
    block_users: int
    sessions_mean: float = 4.4
    sales_weeks: int = 104
    pictured_items: int
    shopper_views: int = 3
    utterances_per_intent: int = 140
    dialogues: int = 300
    name: str = "custom"

    def blocks(self) -> list[range]:
        """User index ranges, each simulated with its own random stream."""
        starts = range(0, self.users, self.block_users)
        return [range(start, min(start + self.block_users, self.users)) for start in starts]


SIZES: dict[str, SizeSpec] = {
    "small": SizeSpec(items=2_000, users=5_000, block_users=2_500, pictured_items=2_000, name="small"),
    "medium": SizeSpec(
        items=50_000, users=100_000, block_users=2_500, sales_weeks=78, pictured_items=4_000, name="medium"
    ),
}


def shop_id(spec: SizeSpec, seed: int) -> str:
    """Another size or seed is another shop: `sample` (small, seed 0), `sample-medium`, `sample-small-7`."""
    plain = spec.name == "small" and not seed
    return "-".join(["sample", *([] if plain else [spec.name]), *([str(seed)] if seed else [])])


def stream(seed: int, *key: int) -> np.random.Generator:
    """The random stream of one part of the shop: independent of every other `key`."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
