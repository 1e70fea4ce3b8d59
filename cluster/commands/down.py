"""`shopkeeper down`: stop what `up` started."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from cluster.home import home
from cluster.output import Output, command
from training.contracts.errors import ShopkeeperError

if TYPE_CHECKING:
    import psutil

STOP_S = 45.0


@command
def down(output: Output) -> None:
    """Stop the system that runs from this home; a home where nothing runs is fine.

    Example: shopkeeper down
    """
    import psutil

    from cluster.local.home_lock import is_held
    from cluster.local.run_state import load_run_state

    place = home()
    state = load_run_state(place)
    if not is_held(place) or state is None:
        output.answer({"stopped": False}, f"nothing runs from {place.root}")
        return
    try:
        supervisor = psutil.Process(state.pid)
        _end(supervisor)
    except psutil.NoSuchProcess:
        pass
    output.answer({"stopped": True}, f"stopped {state.shop_id} at {state.url}")


def _end(supervisor: psutil.Process) -> None:
    """Politely, then with everything it started."""
    import psutil

    tree = [supervisor, *supervisor.children(recursive=True)]
    os.kill(supervisor.pid, signal.SIGTERM)
    _, alive = psutil.wait_procs(tree, timeout=STOP_S)
    for process in alive:
        process.kill()
    if psutil.wait_procs(alive, timeout=10)[1]:
        raise ShopkeeperError(f"could not stop process {supervisor.pid}")
