"""Serve's deployments as `shopkeeper status` shows them."""

from __future__ import annotations

from typing import Any

from cluster.local.run_state import DeploymentState


def deployment_states(said: list[dict[str, Any]]) -> list[DeploymentState]:
    """Every deployment of this process's Serve, with the bundle and the problem that /readyz `said` of it."""
    from ray import serve

    known = {found["name"]: found for found in said}
    return [
        DeploymentState(
            name=name,
            status=_text(status.status),
            replicas=sum(count for state, count in status.replica_states.items() if _text(state) == "RUNNING"),
            version=known.get(name, {}).get("version"),
            message=known.get(name, {}).get("problem") or status.message,
        )
        for application in serve.status().applications.values()
        for name, status in application.deployments.items()
    ]


def _text(value: Any) -> str:
    return str(getattr(value, "value", value))
