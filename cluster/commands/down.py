"""`shopkeeper down`: stop what `up` started."""

from __future__ import annotations

from cluster.home import home
from cluster.output import Output, command


@command
def down(output: Output) -> None:
    """Stop the system that runs from this home; a home where nothing runs is fine.

    Example: shopkeeper down
    """
    from cluster.local.home_lock import is_held
    from cluster.local.processes import end_tree
    from cluster.local.run_state import load_run_state

    place = home()
    state = load_run_state(place)
    if not is_held(place) or state is None:
        output.answer({"stopped": False}, f"nothing runs from {place.root}")
        return
    end_tree(state.pid)
    output.answer({"stopped": True}, f"stopped {state.shop_id} at {state.url}")
