"""The metrics of Telemetry, given to Ray's metrics agent; `/metrics` shows what the agent of this node has."""

from __future__ import annotations

import functools
from typing import Any

import httpx
import ray
from ray.util import metrics

from deployments.telemetry import METRICS, PREFIX, LocalTelemetry

TIMEOUT_S = 2.0


class RayTelemetry:
    """Counts in this process and in Ray, which collects the node's every few seconds."""

    def __init__(self) -> None:
        self.local = LocalTelemetry()
        self._metrics: dict[str, Any] = {}
        for name, metric in METRICS.items():
            said = {"description": metric.description, "tag_keys": metric.labels}
            if metric.kind == "histogram":
                self._metrics[name] = metrics.Histogram(PREFIX + name, boundaries=list(metric.buckets), **said)
            else:
                kind = metrics.Counter if metric.kind == "counter" else metrics.Gauge
                self._metrics[name] = kind(PREFIX + name, **said)

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        self.local.count(name, value, **labels)
        if value > 0:
            self._metrics[name].inc(value, tags=labels)

    def observe(self, name: str, value: float, **labels: str) -> None:
        self.local.observe(name, value, **labels)
        self._metrics[name].observe(value, tags=labels)

    def set(self, name: str, value: float, **labels: str) -> None:
        self.local.set(name, value, **labels)
        self._metrics[name].set(value, tags=labels)

    def text(self) -> bytes:
        return self.local.text() + _agent_text()


def _agent_text() -> bytes:
    """What the agent has of every process of this node (Ray calls ours `ray_shopkeeper_...`); empty without one."""
    address = agent_address()
    if address is None:
        return b""
    try:
        reply = httpx.get(f"http://{address}/metrics", timeout=TIMEOUT_S)
    except httpx.HTTPError:
        return b""
    return reply.content if reply.is_success else b""


@functools.cache
def agent_address() -> str | None:
    """Host and port of this node's metrics agent."""
    here = ray.get_runtime_context().get_node_id()
    node = next((node for node in ray.nodes() if node["NodeID"] == here), None)
    port = node["MetricsExportPort"] if node else 0
    return f"{node['NodeManagerAddress']}:{port}" if node and port else None
