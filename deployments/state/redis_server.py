"""What a Redis server must be before a shop trusts it: reachable, recent, durable, never evicting."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from training.contracts.errors import InputError, Problem

OLDEST_VERSION = (6, 2)
REQUIRED = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


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
