"""A shop served from a throwaway home, for benchmarks that talk HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunningShop:
    """Where it answers, and the home it runs from."""

    url: str
    home: Path

    def command(self, *arguments: str) -> Any:
        """The JSON answer of one `shopkeeper` command in this home."""
        return run(self.home, *arguments)


@contextmanager
def running_shop(*up_options: str) -> Iterator[RunningShop]:
    """`shopkeeper up --detach`, and `down` when the block ends."""
    with tempfile.TemporaryDirectory(prefix="shop") as folder:
        home, port = Path(folder), free_port()
        try:
            document = run(home, "up", "--port", str(port), "--detach", *up_options)
            yield RunningShop(document["url"], home)
        finally:
            run(home, "down")


def run(home: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "cluster.cli", *arguments, "--json"],
        env={**os.environ, "SHOPKEEPER_HOME": str(home)}, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
