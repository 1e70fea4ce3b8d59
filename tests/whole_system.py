"""`shopkeeper` as a process of its own, for the tests that start whole systems."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil

CLUSTERS, ITEMS_EACH, USERS, LENGTH = 6, 10, 150, 8


def shopkeeper(
    home: Path, *arguments: str, timeout_s: float = 240, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cluster.cli", *arguments],
        env={**os.environ, "SHOPKEEPER_HOME": str(home), **environment},
        capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip


def answer(done: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_tiny_shop(folder: Path) -> Path:
    """Sequences that wander inside a cluster of items, imported as any user would."""
    chance = random.Random(0)
    lines = []
    for user in range(USERS):
        items = chance.sample(range(ITEMS_EACH), LENGTH)
        lines.append(f"u{user} " + " ".join(f"{user % CLUSTERS}{item:02d}" for item in items))
    (folder / "Tiny.txt").write_text("\n".join(lines) + "\n")
    done = shopkeeper(
        folder, "data", "import", "amazon-sequences", "--from", str(folder), "--out", str(folder / "shop")
    )
    assert done.returncode == 0, done.stderr
    return folder / "shop"


def recommend(up: dict[str, Any], user_id: str, **fields: Any) -> dict[str, Any]:
    response = httpx.post(f"{up['url']}/v1/recommendations", json={"user_id": user_id, **fields}, timeout=10)
    assert response.status_code == 200, response.text
    return dict(response.json())


def system_tree(home: Path) -> list[psutil.Process]:
    """The supervisor of a home and everything it started."""
    supervisor = psutil.Process(json.loads((home / "run" / "state.json").read_text())["pid"])
    return [supervisor, *supervisor.children(recursive=True)]


def kill_system(home: Path) -> None:
    """SIGKILL to all of it at once."""
    tree = system_tree(home)
    for process in tree:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(tree, timeout=30)
