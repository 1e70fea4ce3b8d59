"""Serve's deployments as `shopkeeper status` shows them."""

from __future__ import annotations

from typing import Any

from cluster.local.run_state import DeploymentState


def deployment_states(versions: dict[str, str | None]) -> list[DeploymentState]:
    """Every deployment of this process's Serve; `versions` says which bundle each serves."""
    from ray import serve

    return [
        DeploymentState(
            name=name,
            status=_text(status.status),
            replicas=sum(count for state, count in status.replica_states.items() if _text(state) == "RUNNING"),
            version=versions.get(name),
            message=status.message,
        )
        for application in serve.status().applications.values()
        for name, status in application.deployments.items()
    ]


def _text(value: Any) -> str:
    return str(getattr(value, "value", value))
