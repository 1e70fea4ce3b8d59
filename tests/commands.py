"""Commands of the CLI as processes of their own, which tests wait for or kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

WITHIN_S = 240


def command(home: Path, *arguments: object, joins: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """`joins`: the Ray that it runs on; by default one of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", *map(str, arguments), "--json"],
        env={**os.environ, **(joins or {}), "SHOPKEEPER_HOME": str(home)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def answer(process: subprocess.Popen[str]) -> Any:
    """Its document once it is done, without an error."""
    try:
        stdout, stderr = process.communicate(timeout=WITHIN_S)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    assert process.returncode == 0, stderr
    return json.loads(stdout)


def kill(process: subprocess.Popen[str]) -> None:
    """With everything that it started, without a word."""
    kill_tree(process.pid)
    process.communicate()


def kill_tree(pid: int) -> None:
    """Returns once all of them are gone."""
    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for member in tree:
        member.send_signal(signal.SIGKILL)
    assert psutil.wait_procs(tree, timeout=30)[1] == []
