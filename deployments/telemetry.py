"""What serving counts: one table of metrics, kept in this process or given to Ray's metrics agent."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

import prometheus_client as prometheus

QUERIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
PREFIX = "shopkeeper_"


class Metric(NamedTuple):
    kind: Literal["counter", "histogram", "gauge"]
    description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = SECONDS


METRICS: dict[str, Metric] = {
    "requests": Metric("counter", "HTTP answers", ("route", "status")),
    "request_seconds": Metric("histogram", "Time from request to answer", ("route",)),
    "stage_seconds": Metric("histogram", "Time a stage took to answer the gateway", ("stage",)),
    "batch_queries": Metric("histogram", "Queries that a stage answered together", ("stage",), QUERIES),
    "stage_failures": Metric("counter", "Calls of a stage that brought nothing", ("stage", "cause")),
    "breaker_open": Metric("gauge", "1 while a stage is given up", ("stage",)),
    "degraded": Metric("counter", "Answers that had to do without a stage", ("stage",)),
    "events": Metric("counter", "Events by outcome: accepted, duplicate, rejected", ("outcome",)),
    "unknown_items": Metric("counter", "Items named by clients that the catalogue does not have", ("route",)),
    "served_log_dropped": Metric("counter", "Answers whose log was dropped because the queue was full"),
    "served_log_queue": Metric("gauge", "Answers waiting to be logged"),
    "release_swaps": Metric("counter", "Times a new release went live"),
}


class Telemetry(Protocol):
    """Counts, observes and sets the metrics of METRICS by name."""

    def count(self, name: str, value: float = 1, **labels: str) -> None: ...

    def observe(self, name: str, value: float, **labels: str) -> None: ...

    def set(self, name: str, value: float, **labels: str) -> None: ...

    def text(self) -> bytes:
        """Prometheus text; blocking."""


class LocalTelemetry:
    """Kept in this process by prometheus_client."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        self._metrics: dict[str, Any] = {name: self._make(name, metric) for name, metric in METRICS.items()}

    def _make(self, name: str, metric: Metric) -> Any:
        name = PREFIX + name
        if metric.kind == "histogram":
            return prometheus.Histogram(
                name, metric.description, metric.labels, registry=self.registry, buckets=metric.buckets
            )
        kind = prometheus.Counter if metric.kind == "counter" else prometheus.Gauge
        return kind(name, metric.description, metric.labels, registry=self.registry)

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        self._of(name, labels).inc(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        self._of(name, labels).observe(value)

    def set(self, name: str, value: float, **labels: str) -> None:
        self._of(name, labels).set(value)

    def text(self) -> bytes:
        return prometheus.generate_latest(self.registry)

    def _of(self, name: str, labels: dict[str, str]) -> Any:
        metric = self._metrics[name]
        return metric.labels(**labels) if labels else metric
