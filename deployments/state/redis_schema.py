"""The keys of a Redis store and the steps that brought them about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from deployments.state.events import decode_event, encode_interest
from deployments.state.redis_scripts import ARRIVAL_DIGITS
from deployments.state.store import refuse_newer_schema
from training.features.profile import PROFILE_EVENTS

Migration = Callable[[Any, str], None]
"""Takes a client and the shop's key prefix, and may be run again after a crash."""


def _first_schema(client: Any, prefix: str) -> None:
    """Version 1 starts from nothing: every key comes with the first row it holds."""
    client.hsetnx(f"{prefix}counters", "events", 0)


def _profiles_with_dwell(client: Any, prefix: str) -> None:
    """Version 2: profiles know how long the user stayed; each is made anew from the user's events."""
    for user_id in client.smembers(f"{prefix}event_users"):
        profile = _profile_members(client.zrange(f"{prefix}events:{user_id}", 0, -1, withscores=True))
        with client.pipeline(transaction=True) as pipe:
            pipe.delete(f"{prefix}profile:{user_id}")
            if profile:
                pipe.zadd(f"{prefix}profile:{user_id}", profile)
            pipe.execute()


def _profile_members(events: Sequence[tuple[str, float]]) -> dict[str, float]:
    """The newest interest events, by arrival and what a profile keeps, with their times."""
    rows = [(body[:ARRIVAL_DIGITS], decode_event(body[ARRIVAL_DIGITS:]), score) for body, score in events]
    members = [(arrival + encode_interest(row), score) for arrival, row, score in rows if row.interest]
    return dict(members[-PROFILE_EVENTS:])


MIGRATIONS: tuple[Migration, ...] = (_first_schema, _profiles_with_dwell)


def migrate(client: Any, prefix: str, *, place: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the shop's keys to the last schema; one process at a time; raises InputError where they are ahead of us."""
    with client.lock(f"{prefix}migrating", timeout=600, blocking_timeout=600):
        version = int(client.get(f"{prefix}schema") or 0)
        refuse_newer_schema(found=version, known=len(migrations), place=place)
        for number, step in enumerate(migrations[version:], start=version + 1):
            step(client, prefix)
            client.set(f"{prefix}schema", number)
