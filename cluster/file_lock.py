"""Advisory locks that die with the process that holds them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.contracts.errors import ShopkeeperError


@contextmanager
def hold(path: Path, *, taken: str) -> Iterator[None]:
    """Hold the lock file while the block runs; raises ShopkeeperError(`taken`) where another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ShopkeeperError(taken) from error
        yield


def is_held(path: Path) -> bool:
    """Whether some process holds the lock now."""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
