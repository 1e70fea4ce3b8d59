"""One running system per home: an advisory lock that dies with the process that holds it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.home import Home
from training.contracts.errors import ShopkeeperError


@contextmanager
def hold_home(home: Home) -> Iterator[None]:
    """Hold the home while the block runs; raises ShopkeeperError where another system runs from it."""
    home.run.mkdir(parents=True, exist_ok=True)
    with open(home.run / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ShopkeeperError(already_running(home)) from error
        yield


def is_held(home: Home) -> bool:
    """Whether a system runs from this home now."""
    try:
        with open(home.run / "lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def already_running(home: Home) -> str:
    return f"a Shopkeeper already runs from {home.root}: shopkeeper status shows it, shopkeeper down stops it"
