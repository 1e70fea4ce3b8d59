"""Ray on this machine: started for one home, joined by that home's other commands."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.home import Home
from cluster.local.home_lock import is_held
from cluster.local.run_state import load_run_state
from training.contracts.errors import InputError, Problem

OBJECT_STORE_BYTES = 256 * 2**20
PROXY_MIDDLEWARES = "deployments.middleware.proxy:middlewares"


def prepare_environment(home: Home) -> None:
    """Settings Ray reads at import: its own token per home, no usage reports, one thread a process."""
    token = home.run / "ray_token"
    if not token.exists():
        home.run.mkdir(parents=True, exist_ok=True)
        with open(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(token))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", PROXY_MIDDLEWARES)
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def start_ray(home: Home, *, cpus: int | None = None) -> str:
    """Start Ray in this process, on the loopback interface only; returns the address others join by."""
    prepare_environment(home)
    import ray

    context = ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level="ERROR",
        _node_ip_address="127.0.0.1",
    )
    return str(context.address_info["address"])


@contextmanager
def joined_ray(home: Home) -> Iterator[bool]:
    """Ray for one command: RAY_ADDRESS, else the home's running system, else a cluster of its own.

    Yields whether the cluster was there already.
    """
    prepare_environment(home)
    import ray

    state = load_run_state(home) if is_held(home) else None
    address = os.environ.get("RAY_ADDRESS") or (state.ray_address if state else None)
    if address:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    else:
        start_ray(home)
    try:
        yield address is not None
    finally:
        ray.shutdown()


def check_gpus(wanted: int) -> None:
    """Raises InputError where this machine's Ray has fewer: Ray Train would wait for them for ever."""
    import ray

    found = int(ray.cluster_resources().get("GPU", 0))
    if found < wanted:
        raise InputError(
            Problem(field="--gpu", problem="not enough GPUs in this machine", found=str(found),
                    allowed=f"{wanted} for as many workers; without --gpu it is trained on processors")
        )  # fmt: skip
