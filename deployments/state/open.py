"""From a URL to the shop's store."""

from __future__ import annotations

from pathlib import Path

from deployments.state.redis import RedisStore
from deployments.state.sqlite import SqliteStore
from deployments.state.store import Store
from training.contracts.errors import InputError, Problem

ALLOWED = "sqlite:///relative/path, sqlite:////absolute/path, redis://host:port/db or rediss://..."


def open_store(url: str, shop_id: str) -> Store:
    """The store of `shop_id` at `url`, its schema brought up to date; raises InputError for any other kind of URL."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and len(rest) > 1 and rest.startswith("/"):
        return SqliteStore(Path(rest[1:]), shop_id)
    if scheme in ("redis", "rediss") and rest:
        return RedisStore(url, shop_id)
    raise InputError(Problem(problem="not a state URL", field="state", found=url, allowed=ALLOWED))
