"""The one place where plain classes meet Ray Serve: batching, bundle watching and health for every stage."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from deployments.api.application import create_api
from deployments.assembly import STAGES, open_gateway, open_stage
from deployments.batching import Batches
from deployments.catalogue import POLL_S
from deployments.config import DeploymentConfig, ServingConfig
from deployments.middleware.auth import ApiKey
from deployments.ray_telemetry import RayTelemetry
from deployments.stages import StageLost, StageStatus
from deployments.state.open import refuse_shared_file

LOGGER = logging.getLogger("ray.serve")
CALLING_OFF = ThreadPoolExecutor(1, thread_name_prefix="calling-off")
"""Ray's call blocks for as long as a router or a dying replica wants."""
ROOM_TO_CALL_OFF = threading.BoundedSemaphore(64)
"""Calls that wait for it; of more than these the replica is not told, and answers nobody."""
STALLED_S = 600.0
"""A bundle and the catalogue's changes since may take this long to load before the replica counts as ill."""


def alive_nodes() -> int:
    """Machines in the Ray cluster; 1 where Ray does not run."""
    return sum(node["Alive"] for node in ray.nodes()) if ray.is_initialized() else 1


class Follower:
    """Calls `follow` again and again in a thread of its own: a bundle that loads must not hold up new items."""

    def __init__(self, follow: Callable[[], None], period_s: float) -> None:
        self.follow, self.period_s = follow, period_s
        self.followed_at_s = time.monotonic()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def check(self) -> None:
        """Raises where the thread ended or has not come round for long."""
        if not self.thread.is_alive() or time.monotonic() - self.followed_at_s > STALLED_S:
            raise RuntimeError(f"{self.follow.__name__} stopped")

    def _run(self) -> None:
        while True:
            time.sleep(self.period_s)
            try:
                self.follow()
            except Exception:
                # A store that is away for a moment must not end the following.
                LOGGER.exception("%s failed", self.follow.__name__)
            self.followed_at_s = time.monotonic()


class StageReplica:
    """A replica of one stage: threads follow the champion and the catalogue, queries come in batches."""

    def __init__(self, name: str, config: ServingConfig, own: DeploymentConfig) -> None:
        refuse_shared_file(config.state, nodes=alive_nodes())
        self.host, self.prepares = open_stage(name, config), STAGES[name].prepares
        self.host.follow()
        self.followers = [
            Follower(self.host.follow_champion, config.watch_period_s),
            Follower(self.host.follow_catalogue, min(config.watch_period_s, POLL_S)),
        ]
        observe = partial(RayTelemetry().observe, "batch_queries", stage=name)
        # A large photo waits for others in its thread, so that there are many.
        self.preparing = ThreadPoolExecutor(own.max_ongoing_requests, thread_name_prefix="preparing")
        self.batches = Batches(self.host.answer, most=own.max_batch_size, seen=observe)

    async def answer(self, query: Any) -> Any:
        if self.prepares:
            query = await asyncio.get_running_loop().run_in_executor(self.preparing, self.host.prepared, query)
        return await self.batches.ask(query)

    async def status(self) -> StageStatus:
        return self.host.status()

    def check_health(self) -> None:
        """Called by Serve; raises where a follower stopped."""
        for follower in self.followers:
            follower.check()


class HandlePort:
    """A stage behind a Serve handle; where its work is `heavy`, a replica is told of callers that have gone.

    Serve goes on for them otherwise. A light answer is made sooner than it is called off.
    """

    def __init__(self, handle: DeploymentHandle, *, heavy: bool) -> None:
        self.handle, self.heavy = handle, heavy

    async def answer(self, query: Any) -> Any:
        response = self.handle.answer.remote(query)
        try:
            return await response
        except asyncio.CancelledError:
            if self.heavy:
                call_off(response)
            raise
        except RayTaskError:
            raise
        except (RayActorError, DeploymentUnavailableError) as error:
            raise StageLost(str(error)) from error

    async def status(self) -> StageStatus:
        found: StageStatus = await self.handle.status.remote()
        return found


def call_off(response: DeploymentResponse[Any]) -> None:
    """Tell the replica, in time, that nobody waits for this answer."""
    if ROOM_TO_CALL_OFF.acquire(blocking=False):
        CALLING_OFF.submit(response.cancel).add_done_callback(lambda _: ROOM_TO_CALL_OFF.release())


class GatewayReplica:
    """The ingress: the gateway and its HTTP application."""

    def __init__(self, config: ServingConfig, keys: Sequence[ApiKey], stages: dict[str, DeploymentHandle]) -> None:
        refuse_shared_file(config.state, nodes=alive_nodes())
        ports = {name: HandlePort(handle, heavy=STAGES[name].varied) for name, handle in stages.items()}
        self.gateway = open_gateway(config, ports=ports, telemetry=RayTelemetry())
        self.keys = tuple(keys)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_api(self.gateway, keys=self.keys)


Ingress = serve.ingress()(GatewayReplica)
