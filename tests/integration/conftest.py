"""A redis-server of the tests' own, the state store over it and over SQLite, and a Ray of the tests' own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from deployments.config import SERVE_ENVIRONMENT
from deployments.state.open import open_store
from deployments.state.redis_server import REQUIRED
from deployments.state.store import Store
from tests.commands import kill_tree
from tests.serving_shop import wait_until


@dataclass
class RedisProcess:
    """A redis-server on a free port with a folder of its own."""

    folder: Path
    port: int
    settings: dict[str, str] = field(default_factory=lambda: dict(REQUIRED))
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Returns once the server answers."""
        server = shutil.which("redis-server")
        assert server is not None, "redis-server is not installed: make test installs it"
        options = [part for name, value in self.settings.items() for part in (f"--{name}", value)]
        command = [server, "--port", str(self.port), "--dir", str(self.folder), "--save", "", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with redis.Redis.from_url(self.url) as client:
            for _ in range(10_000):
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    assert self.process.poll() is None, "redis-server ended at its start"
                    threading.Event().wait(0.01)
        raise AssertionError("redis-server does not answer")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisProcess]:
    server = RedisProcess(tmp_path, _free_port())
    yield server
    server.kill()


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    server = RedisProcess(tmp_path_factory.mktemp("redis"), _free_port())
    server.start()
    yield server
    server.kill()


@pytest.fixture
def free_port() -> int:
    return _free_port()


@pytest.fixture(params=["sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.sqlite"
    return str(request.getfixturevalue("shared_redis").url)


@pytest.fixture
def shop_id() -> str:
    return f"shop-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def store(store_url: str, shop_id: str) -> Iterator[Store]:
    opened = open_store(store_url, shop_id)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def own_ray() -> Iterator[None]:
    """Ray in this process, for one module; it ends with it."""
    settings = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", **SERVE_ENVIRONMENT}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        import ray

        ray.init(
            address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
            object_store_memory=128 * 2**20, _node_ip_address="127.0.0.1",
        )  # fmt: skip
        yield
        ray.shutdown()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that share a Ray come last: nothing else has it running beside itself."""
    items.sort(key=lambda item: "training_ray" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def training_ray() -> Iterator[Mapping[str, str]]:
    """A Ray that commands join instead of starting one each, in processes of its own; what they need to join it."""
    port = _free_port()
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    cluster = subprocess.Popen(
        [Path(sys.executable).with_name("ray"), "start", "--head", "--block", f"--port={port}", "--num-cpus=2",
         "--node-ip-address=127.0.0.1", "--include-dashboard=false", f"--object-store-memory={128 * 2**20}"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: cluster.poll() is not None or _listens(port), timeout_s=60)
    assert cluster.poll() is None, "ray start ended"
    yield {"RAY_ADDRESS": f"127.0.0.1:{port}", "RAY_AUTH_MODE": "disabled"}
    kill_tree(cluster.pid)
    cluster.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
