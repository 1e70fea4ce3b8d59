"""What a Redis server must be before a shop trusts it: reachable, recent, durable, never evicting, of our schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from deployments.state.store import refuse_newer_schema
from training.contracts.errors import InputError, Problem

OLDEST_VERSION = (6, 2)
REQUIRED = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}

Migration = Callable[[Any, str], None]
"""Takes a client and the shop's key prefix, and may be run again after a crash."""


def _first_schema(client: Any, prefix: str) -> None:
    """Version 1 starts from nothing: every key comes with the first row it holds."""
    client.hsetnx(f"{prefix}counters", "events", 0)


MIGRATIONS: tuple[Migration, ...] = (_first_schema,)


def place_of(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or 'localhost'}:{parts.port or 6379}{parts.path}"


def check_server(client: Any, *, place: str) -> None:
    """Raise InputError naming each setting that could lose acknowledged events, with the command that mends it."""
    version = str(client.info("server")["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_VERSION:
        raise InputError(Problem(problem="Redis is too old", file=place, found=version, allowed="6.2 or newer"))
    settings = {name: client.config_get(name).get(name) for name in REQUIRED}
    wrong = [_setting_problem(name, found, place) for name, found in settings.items() if found != REQUIRED[name]]
    if wrong:
        raise InputError(wrong)


def _setting_problem(name: str, found: str | None, place: str) -> Problem:
    return Problem(
        problem=f"acknowledged events could be lost; run: redis-cli -u {place} CONFIG SET {name} {REQUIRED[name]}",
        file=place,
        field=name,
        found=found,
        allowed=REQUIRED[name],
    )


def migrate(client: Any, prefix: str, *, place: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the shop's keys to the last schema; one process at a time; raises InputError where they are ahead of us."""
    with client.lock(f"{prefix}migrating", timeout=600, blocking_timeout=600):
        version = int(client.get(f"{prefix}schema") or 0)
        refuse_newer_schema(found=version, known=len(migrations), place=place)
        for number, step in enumerate(migrations[version:], start=version + 1):
            step(client, prefix)
            client.set(f"{prefix}schema", number)
