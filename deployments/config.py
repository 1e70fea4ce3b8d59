"""The typed form of configs/deployments/*.yaml; Serve's own schema would accept typos silently."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.contracts.errors import InputError, Problem, shorten
from training.contracts.validation import problems_of

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DeploymentConfig(_Strict):
    """How many replicas of a deployment run, how much each takes in, and when it counts as ill."""

    num_cpus: float = Field(default=0.2, ge=0, le=64)
    memory_mb: int | None = Field(default=None, ge=64)
    min_replicas: int = Field(default=1, ge=1, le=1000)
    max_replicas: int = Field(default=1, ge=1, le=1000)
    target_ongoing_requests: Positive = 8.0
    max_ongoing_requests: int = Field(default=64, ge=1)
    max_queued_requests: int = Field(default=256, ge=-1)
    max_batch_size: int = Field(default=16, ge=1, le=1024)
    health_check_period_s: Positive = 2.0
    health_check_timeout_s: Positive = 10.0
    graceful_shutdown_timeout_s: Positive = 5.0

    @model_validator(mode="after")
    def _ordered(self) -> DeploymentConfig:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} is more than max_replicas {self.max_replicas}")
        return self


class BreakerConfig(_Strict):
    """When a stage is given up, and how often it is looked after until it is back."""

    failures_to_open: int = Field(default=3, ge=1)
    patience_floor_s: Positive = 0.2
    fair_wait_s: Positive = 0.4
    probe_period_s: Positive = 0.25
    probe_timeout_s: Positive = 2.0


class StageConfig(_Strict):
    """The part of the time left that each stage may take."""

    profile_share: Share = 0.5
    retrieval_share: Share = 0.5
    ranking_share: Share = 0.8
    visual_search_share: Share = 0.9
    forecasting_share: Share = 0.9


class RequestConfig(_Strict):
    """What one request may cost."""

    max_in_flight: int = Field(default=256, ge=1)
    candidates: int = Field(default=100, ge=10, le=2000)
    store_threads: int = Field(default=4, ge=1, le=64)
    served_log_queue: int = Field(default=10_000, ge=1)
    photos_mb: int = Field(default=128, ge=1, description="of photos and pictures that are looked at in one moment")
    stages: StageConfig = StageConfig()
    breaker: BreakerConfig = BreakerConfig()


class DeploymentsConfig(_Strict):
    """One entry per deployment of the application."""

    gateway: DeploymentConfig = DeploymentConfig(num_cpus=0.3, max_ongoing_requests=512)
    retrieval: DeploymentConfig = DeploymentConfig(num_cpus=0.25)
    ranking: DeploymentConfig = DeploymentConfig(num_cpus=0.2)
    visual_search: DeploymentConfig = DeploymentConfig(num_cpus=0.1)
    forecasting: DeploymentConfig = DeploymentConfig(
        num_cpus=0.1, max_ongoing_requests=16, max_queued_requests=64, max_batch_size=1
    )

    @model_validator(mode="after")
    def _one_gateway(self) -> DeploymentsConfig:
        if self.gateway.max_replicas > 1:
            raise ValueError(
                "gateway.max_replicas: /metrics is per node and would go backwards behind several gateways"
            )
        return self


class ServingConfig(_Strict):
    """One shop's serving: where its bundles, releases and state lie, and how it is served."""

    shop_id: str = Field(default="sample", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    bundles: str = ".shopkeeper/bundles"
    releases: str = ".shopkeeper/releases"
    state: str = "sqlite:///.shopkeeper/state/sample.sqlite"
    cache: str = ".shopkeeper/cache"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    watch_period_s: Positive = 0.25
    request: RequestConfig = RequestConfig()
    deployments: DeploymentsConfig = DeploymentsConfig()


def load_serving_config(path: Path | None = None, **overrides: Any) -> ServingConfig:
    """The YAML file (None: the defaults) with `overrides`; raises InputError naming each wrong field."""
    document: Any = {}
    if path is not None:
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(Problem(file=str(path), problem=f"cannot be read: {shorten(str(error), 200)}")) from error
        if not isinstance(document, dict):
            raise InputError(Problem(file=str(path), problem="must be a mapping of fields", found=shorten(document)))
    try:
        return ServingConfig.model_validate({**document, **overrides})
    except ValidationError as error:
        raise InputError(problems_of(error, ServingConfig, file=str(path or "serving config"))) from error


SERVE_ENVIRONMENT = {
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deployments.middleware.proxy:middlewares",
}
"""Set before Ray starts: the proxy then says one X-Request-ID, and its own errors as problem+json."""
