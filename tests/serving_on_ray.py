"""The application on Ray, for tests over real HTTP; and the processes that serve it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from deployments.config import DeploymentsConfig
from tests.serving_shop import Home


@contextmanager
def serve_on_ray(home: Home, deployments: DeploymentsConfig) -> Iterator[str]:
    """The URL, while the block lasts; on the Ray of the fixture `own_ray`."""
    from ray import serve

    from deployments.app import build_app

    port = _free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(build_app(home.config(port=port, deployments=deployments)), name="shopkeeper", route_prefix="/")
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


def replicas(stage: str) -> list[psutil.Process]:
    """The processes of one deployment."""
    marked = [
        process
        for process in psutil.Process().children(recursive=True)
        if f"ServeReplica:shopkeeper:{stage}" in " ".join(process.cmdline())
    ]
    assert marked, f"no replica of {stage} among our processes"
    return marked


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
