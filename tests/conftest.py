"""What every test may use: the command line in this process, and the real data where it is."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

ENDED_WITH = pytest.StashKey[int]()
REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True)
class CommandResult:
    """How one run of the command line ended."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        return json.loads(self.stdout)


@pytest.fixture
def shopkeeper(monkeypatch: pytest.MonkeyPatch) -> Callable[..., CommandResult]:
    """Runs `shopkeeper ARGUMENTS...` in this process."""
    from cluster.cli import main

    def run(*arguments: object) -> CommandResult:
        out, err = StringIO(), StringIO()
        handler = signal.getsignal(signal.SIGTERM)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            try:
                with pytest.raises(SystemExit) as stopped:
                    main([str(argument) for argument in arguments])
            finally:
                signal.signal(signal.SIGTERM, handler)
        return CommandResult(code=int(stopped.value.code or 0), stdout=out.getvalue(), stderr=err.getvalue())

    return run


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """The folder of a real data set; skips where it is absent."""

    def find(name: str) -> Path:
        if not (REAL_DATA / name).is_dir():
            pytest.skip(f"real data is absent: no {REAL_DATA / name}")
        return REAL_DATA / name

    return find


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[ENDED_WITH] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Ray's native threads outlive `ray.shutdown()` and at times crash the interpreter's own end: skip that end."""
    of_xdist = hasattr(config, "workerinput")
    if "ray" in sys.modules and ENDED_WITH in config.stash and not of_xdist:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[ENDED_WITH])
