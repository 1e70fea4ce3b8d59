"""From a URL to the shop's store."""

from __future__ import annotations

import re
from pathlib import Path

from deployments.state.redis import RedisStore
from deployments.state.sqlite import SqliteStore
from deployments.state.store import Store
from training.contracts.errors import InputError, Problem

ALLOWED = "sqlite:///relative/path, sqlite:////absolute/path, redis://host:port/db or rediss://..."


def refuse_shared_file(url: str, *, nodes: int) -> None:
    """Raise InputError where processes of several machines would each have an SQLite file of their own."""
    if nodes > 1 and url.startswith("sqlite:"):
        raise InputError(
            Problem(
                problem=f"SQLite is for one machine, and the cluster has {nodes}", field="state", found=url,
                allowed="redis://host:port/db or rediss://...",
            )
        )  # fmt: skip


def open_store(url: str, shop_id: str) -> Store:
    """The store of `shop_id` at `url`, its schema brought up to date; raises InputError for any other kind of URL."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and len(rest) > 1 and rest.startswith("/"):
        return SqliteStore(Path(rest[1:]), shop_id)
    if scheme in ("redis", "rediss") and rest:
        return RedisStore(url, shop_id)
    raise InputError(Problem(problem="not a state URL", field="state", found=_masked(url), allowed=ALLOWED))


def _masked(url: str) -> str:
    """The URL without what stands where credentials do, however it is misspelt."""
    kept = re.sub(r"(password=)[^&]*", r"\1***", url)
    scheme, _, rest = kept.partition("://") if "://" in kept else ("", "", kept)
    if "@" not in rest:
        return kept
    return f"{scheme}://***@{rest.rpartition('@')[2]}" if scheme else f"***@{rest.rpartition('@')[2]}"
