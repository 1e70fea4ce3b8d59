"""The shop's own now: a history that ended long ago counts on from where it ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def wall_now_us() -> int:
    """The machine's time in microseconds since 1970, UTC."""
    return time.time_ns() // 1_000


def to_us(moment: datetime) -> int:
    """Microseconds since 1970; a datetime without offset is UTC."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (aware - _EPOCH) // timedelta(microseconds=1)


def from_us(moment_us: int) -> datetime:
    """The aware UTC datetime of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=moment_us)


@dataclass(frozen=True, slots=True)
class ShopClock:
    """Wall time moved by a constant, which is fixed when the shop is first imported."""

    offset_us: int = 0
    wall_us: Callable[[], int] = wall_now_us

    def now_us(self) -> int:
        return self.wall_us() + self.offset_us

    @property
    def shift_us(self) -> int:
        """What brings a moment of a live client into the shop's time: below 0 where the shop is behind the wall."""
        return min(self.offset_us, 0)

    def now(self) -> datetime:
        return from_us(self.now_us())


def clock_offset_us(reference_date: datetime, *, wall_us: int) -> int:
    """What a ShopClock adds for a shop first imported at `wall_us`: nothing while its history is under a day old.

    A history that ends after the machine's now is counted on from its end too, so that live events come after it.
    """
    behind_us = wall_us - to_us(reference_date)
    return 0 if 0 <= behind_us <= DAY_US else -behind_us
