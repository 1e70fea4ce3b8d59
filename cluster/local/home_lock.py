"""One running system per home."""

from __future__ import annotations

from contextlib import AbstractContextManager

from cluster import file_lock
from cluster.home import Home


def hold_home(home: Home) -> AbstractContextManager[None]:
    """Hold the home while the block runs; raises ShopkeeperError where another system runs from it."""
    return file_lock.hold(home.run / "lock", taken=already_running(home))


def is_held(home: Home) -> bool:
    """Whether a system runs from this home now."""
    return file_lock.is_held(home.run / "lock")


def already_running(home: Home) -> str:
    return f"a Shopkeeper already runs from {home.root}: shopkeeper status shows it, shopkeeper down stops it"
