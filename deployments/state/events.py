"""Behaviour events as state keeps them, and the rule by which a repeated one counts once."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple

import orjson

from deployments.state.clock import DAY_US
from training.features.profile import is_interest

DEDUPLICATION_WINDOW_US = 30 * DAY_US


class EventRow(NamedTuple):
    """One row of the events table; `timestamp_us` None means: when it was received, `event_id` None: make one."""

    user_id: str
    type: str
    item_id: str | None = None
    timestamp_us: int | None = None
    event_id: str | None = None
    session_id: str | None = None
    value: float | None = None
    quantity: float | None = None
    dwell_s: float | None = None
    query: str | None = None
    recommendation_id: str | None = None
    position: int | None = None
    context: Mapping[str, str] | None = None
    split: str | None = None
    received_at_us: int | None = None

    @property
    def known_us(self) -> int:
        """When the shop learnt of the event."""
        known_us = self.timestamp_us if self.received_at_us is None else self.received_at_us
        if known_us is None:
            raise ValueError("an event needs timestamp_us or received_at_us")
        return known_us

    @property
    def interest(self) -> bool:
        """Whether the event belongs to its user's profile."""
        return self.item_id is not None and is_interest(self.type)


class Outcome(StrEnum):
    """What became of one appended event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


class StampedEvent(NamedTuple):
    """An event with its id and time filled in, and the fingerprint of what its sender said."""

    row: EventRow
    event_id: str
    timestamp_us: int
    fingerprint: int


def stamp(row: EventRow, *, shift_us: int = 0) -> StampedEvent:
    """A time said to be after reception is moved by `shift_us`: its sender has another clock than the shop.

    The fingerprint covers neither what we add (reception, id, a missing or a moved time) nor the training split.
    """
    known_us = row.known_us
    timestamp_us = known_us if row.timestamp_us is None else row.timestamp_us
    if timestamp_us > known_us:
        timestamp_us += shift_us
    event_id = uuid.uuid4().hex if row.event_id is None else row.event_id
    filled = row._replace(event_id=event_id, timestamp_us=timestamp_us)
    return StampedEvent(filled, event_id, timestamp_us, _fingerprint(row))


def judge(event: StampedEvent, held: tuple[int, int] | None) -> Outcome:
    """The outcome of an event beside the (fingerprint, known_us) held under its user and id."""
    if held is None or event.row.known_us - held[1] >= DEDUPLICATION_WINDOW_US:
        return Outcome.ACCEPTED
    return Outcome.DUPLICATE if held[0] == event.fingerprint else Outcome.CONFLICT


def encode_event(row: EventRow) -> str:
    """The row as a JSON array in the order of its fields."""
    return orjson.dumps(list(row)).decode()


def decode_event(text: str) -> EventRow:
    return EventRow(*orjson.loads(text))


def encode_interest(row: EventRow) -> str:
    """What a profile keeps of the event, without its time."""
    return orjson.dumps((row.item_id, row.type, row.dwell_s)).decode()


def decode_interest(text: str) -> tuple[str, str, float]:
    """item_id, type and dwell_s (0 where nobody said)."""
    item_id, kind, dwell_s = orjson.loads(text)
    return item_id, kind, dwell_s or 0.0


def _fingerprint(row: EventRow) -> int:
    said = orjson.dumps((row.type, *row[2:4], *row[5:13]), option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(blake2b(said, digest_size=8).digest(), "big", signed=True)
