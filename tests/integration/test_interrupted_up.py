"""Ctrl-C while the system is still preparing: it leaves soon, whole and free to start again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.serving_shop import wait_until
from tests.whole_system import free_port, make_tiny_shop, shopkeeper, system_tree

pytestmark = pytest.mark.ray

LEAVES_WITHIN_S = 25


def test_ctrl_c_during_the_start_leaves_no_process(tmp_path: Path) -> None:
    shop, home = make_tiny_shop(tmp_path), tmp_path / "home"
    up = subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", "up", "--data", str(shop), "--port", str(free_port())],
        env={**os.environ, "SHOPKEEPER_HOME": str(home)}, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip

    def ray_starts() -> bool:
        return (home / "run" / "state.json").exists() and any("gcs_server" in p.name() for p in system_tree(home))

    wait_until(ray_starts, timeout_s=60)
    tree = system_tree(home)
    begun_s = time.monotonic()
    up.send_signal(signal.SIGINT)
    assert up.wait(timeout=60) == 130
    assert time.monotonic() - begun_s < LEAVES_WITHIN_S
    assert psutil.wait_procs(tree, timeout=5)[1] == []
    assert "nothing runs" in shopkeeper(home, "status").stdout
