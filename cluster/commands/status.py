"""`shopkeeper status`: what runs from this home, and what it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.home import home
from cluster.output import Output, command

if TYPE_CHECKING:
    from cluster.local.run_state import RunState

CPU_BUDGET, MEMORY_BUDGET_BYTES = 2, 6 * 2**30


@command
def status(output: Output) -> None:
    """Say what runs: deployments, release, jobs not yet trained, memory and cores in use.

    Example: shopkeeper status --json
    """
    from cluster.local.home_lock import is_held
    from cluster.local.run_state import load_run_state

    place = home()
    state = load_run_state(place)
    running = is_held(place) and state is not None
    if state is None or not running:
        failed = f"; last time: {state.error}" if state and state.error else ""
        output.answer(
            {
                "ready": False,
                "running": False,
                "missing": [],
                "deployments": [],
                "error": state.error if state else None,
            },
            f"nothing runs from {place.root}{failed}",
        )
        return
    output.answer(_document(state), _text(state))


def _document(state: RunState) -> dict[str, Any]:
    usage = state.usage.model_dump() if state.usage else None
    return {
        "ready": state.ready,
        "running": True,
        "phase": state.phase,
        "url": state.url,
        "shop_id": state.shop_id,
        "release": state.release,
        "missing": state.missing,
        "training": state.training,
        "error": state.error,
        "deployments": [deployment.model_dump() for deployment in state.deployments],
        "usage": usage,
        "budget": {"cpu_cores": CPU_BUDGET, "memory_bytes": MEMORY_BUDGET_BYTES},
    }


def _text(state: RunState) -> str:
    lines = [f"{state.shop_id} at {state.url}: {state.phase}, release {state.release}"]
    width = max((len(deployment.name) for deployment in state.deployments), default=0)
    lines += [
        f"  {deployment.name:<{width}}  {deployment.status:<10} {deployment.replicas} replica(s)  "
        f"{deployment.version or ''} {deployment.message}".rstrip()
        for deployment in state.deployments
    ]
    if state.training:
        lines.append(f"  training {state.training}")
    if state.missing:
        lines.append(f"  not yet trained: {', '.join(state.missing)}")
    if state.usage:
        lines.append(
            f"  {state.usage.processes} processes, {state.usage.memory_bytes / 2**30:.2f} GiB of "
            f"{MEMORY_BUDGET_BYTES / 2**30:.0f} GiB, {state.usage.cpu_cores:.2f} of {CPU_BUDGET} cores"
        )
    if state.error:
        lines.append(f"  error: {state.error}")
    return "\n".join(lines)
