"""Ending a process together with everything that it started."""

from __future__ import annotations

import ctypes
import signal

import psutil

from training.contracts.errors import ShopkeeperError

POLITE_S, LEFTOVERS_S, FORCED_S = 45.0, 3.0, 10.0
PR_SET_PDEATHSIG = 1


def end_tree(pid: int) -> None:
    """SIGTERM to the process, SIGKILL to whatever of its tree it leaves behind or after POLITE_S; raises where that
    fails."""
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
        root.terminate()
    except psutil.NoSuchProcess:
        return
    psutil.wait_procs([root], timeout=POLITE_S)
    _, alive = psutil.wait_procs(tree, timeout=LEFTOVERS_S)
    for process in alive:
        process.kill()
    if psutil.wait_procs(alive, timeout=FORCED_S)[1]:
        raise ShopkeeperError(f"could not stop process {pid}")


def die_with_parent() -> None:
    """Called in a child before exec: the kernel ends it when its parent is gone, however that went (Linux prctl)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
