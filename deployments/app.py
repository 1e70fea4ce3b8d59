"""The Serve application: the only file that names and binds every deployment."""

from __future__ import annotations

import os
from typing import Any

from ray import serve
from ray.serve import Application

from deployments.adapter import Ingress, StageReplica, alive_nodes
from deployments.assembly import STAGES
from deployments.config import DeploymentConfig, ServingConfig
from deployments.middleware.auth import KEYS_VARIABLE, parse_keys, refuse_open_host, refuse_open_proxy
from deployments.state.open import refuse_shared_file

GATEWAY = "gateway"
DEPLOYMENTS: dict[str, type] = {GATEWAY: Ingress, **dict.fromkeys(STAGES, StageReplica)}
REPLICA_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
}  # fmt: skip
"""One thread a pass, since replicas share the cores. And glibc keeps one photo's memory for the next: given back
each time, its pages would cost more to map anew than the photo does to decode.
"""


def build_app(config: ServingConfig) -> Application:
    """Every deployment, bound; raises InputError where a server without keys would be open, or state torn apart."""
    keys = parse_keys(os.environ.get(KEYS_VARIABLE, ""))
    refuse_open_host(config.host, keys)
    refuse_open_proxy(os.environ, keys)
    refuse_shared_file(config.state, nodes=alive_nodes())
    stages = {name: _bind(name, getattr(config.deployments, name), name, config) for name in STAGES}
    return _deployment(GATEWAY, config.deployments.gateway).bind(config, keys, stages)


def _bind(name: str, own: DeploymentConfig, *arguments: Any) -> Application:
    return _deployment(name, own).bind(*arguments, own)


def _deployment(name: str, own: DeploymentConfig) -> serve.Deployment:
    memory = {} if own.memory_mb is None else {"memory": own.memory_mb * 2**20}
    return serve.deployment(
        DEPLOYMENTS[name],
        name=name,
        max_ongoing_requests=own.max_ongoing_requests,
        max_queued_requests=own.max_queued_requests,
        health_check_period_s=own.health_check_period_s,
        health_check_timeout_s=own.health_check_timeout_s,
        graceful_shutdown_timeout_s=own.graceful_shutdown_timeout_s,
        ray_actor_options={"num_cpus": own.num_cpus, "runtime_env": {"env_vars": REPLICA_ENVIRONMENT}, **memory},
        logging_config={"enable_access_log": False},
        **_replicas(own),
    )


def _replicas(own: DeploymentConfig) -> dict[str, Any]:
    """A fixed number, or autoscaling between two."""
    if own.min_replicas == own.max_replicas:
        return {"num_replicas": own.min_replicas}
    return {
        "autoscaling_config": {
            "min_replicas": own.min_replicas,
            "max_replicas": own.max_replicas,
            "target_ongoing_requests": own.target_ongoing_requests,
        }
    }
