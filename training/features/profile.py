"""What a shop knows of one user at one moment: the same view of the events in training and in serving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.tables import CUSTOM_EVENT_PREFIX

INTEREST_TYPES = frozenset({"view", "add_to_cart", "wishlist", "purchase", "rating", "like"})
PROFILE_EVENTS = 200
EVENT_COLUMNS = ("user_id", "item_id", "type", "timestamp", "received_at", "dwell_s")
"""What a profile is made from."""


def is_interest(kind: str) -> bool:
    """Whether an event of this type says that the user wants something like its item."""
    return kind in INTEREST_TYPES or kind.startswith(CUSTOM_EVENT_PREFIX)


@dataclass(frozen=True, slots=True)
class Profile:
    """A user's newest interest events, oldest first; parallel tuples of at most PROFILE_EVENTS entries.

    `dwells_s` is how long the user stayed with the item, 0 where nobody said.
    """

    user_id: str
    item_ids: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    timestamps_us: tuple[int, ...] = ()
    dwells_s: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def newest_us(self) -> int | None:
        """Time of the newest event in microseconds, None for a user without any."""
        return self.timestamps_us[-1] if self.timestamps_us else None


def make_profile(user_id: str, events: Sequence[tuple[str, str, int, float]]) -> Profile:
    """Profile of (item_id, type, timestamp_us, dwell_s) rows as they arrived; ties in time keep that order."""
    kept = sorted((event for event in events if is_interest(event[1])), key=lambda event: event[2])[-PROFILE_EVENTS:]
    return Profile(user_id, *zip(*kept, strict=True)) if kept else Profile(user_id)


class EventHistory:
    """Every user's interest events of an events table (EVENT_COLUMNS of it), ready to be asked `as_of` any moment."""

    def __init__(self, events: pa.Table) -> None:
        wanted = events.filter(pc.and_(pc.is_valid(events["item_id"]), _interest_mask(events["type"])))
        times = wanted["timestamp"].cast(pa.int64())
        known = pc.coalesce(wanted["received_at"].cast(pa.int64()), times)
        order = pc.sort_indices(
            pa.table({"user": wanted["user_id"], "time": times, "row": pa.array(np.arange(len(wanted)))}),
            sort_keys=[("user", "ascending"), ("time", "ascending"), ("row", "ascending")],
        )
        users = wanted["user_id"].take(order).to_numpy(zero_copy_only=False)
        self._items = wanted["item_id"].take(order).to_pylist()
        self._kinds = wanted["type"].take(order).to_pylist()
        self._times_us = times.take(order).to_numpy()
        self._known_us = known.take(order).to_numpy()
        self._dwells_s = np.nan_to_num(wanted["dwell_s"].take(order).to_numpy(), nan=0.0)
        starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]]) if len(users) else np.empty(0, np.int64)
        ends = np.r_[starts[1:], len(users)] if len(users) else starts
        self._spans = {str(users[start]): (int(start), int(end)) for start, end in zip(starts, ends, strict=True)}

    def users(self) -> Iterator[str]:
        return iter(self._spans)

    def profile(self, user_id: str, *, as_of_us: int, strictly_before: bool = False) -> Profile:
        """What was known of the user at `as_of_us`; `strictly_before` leaves out events of that very moment."""
        start, end = self._spans.get(user_id, (0, 0))
        until_us = as_of_us - 1 if strictly_before else as_of_us
        end = start + int(np.searchsorted(self._times_us[start:end], until_us, side="right"))
        known = [row for row in range(start, end) if self._known_us[row] <= as_of_us][-PROFILE_EVENTS:]
        return Profile(
            user_id,
            tuple(self._items[row] for row in known),
            tuple(self._kinds[row] for row in known),
            tuple(int(self._times_us[row]) for row in known),
            tuple(float(self._dwells_s[row]) for row in known),
        )


def _interest_mask(kinds: pa.ChunkedArray) -> pa.ChunkedArray:
    plain = pc.is_in(kinds, value_set=pa.array(sorted(INTEREST_TYPES)))
    return pc.or_(plain, pc.starts_with(kinds, CUSTOM_EVENT_PREFIX))
