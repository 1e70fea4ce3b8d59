"""What the running system says of itself, in one file that `up`, `status` and `down` read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cluster.home import Home
from training.contracts.atomic import write_bytes

Phase = Literal["starting", "preparing", "training", "serving", "failed", "stopped"]


class DeploymentState(BaseModel):
    """One Serve deployment as Ray reports it."""

    name: str
    status: str
    replicas: int
    version: str | None = None
    message: str = ""


class Usage(BaseModel):
    """What the whole process tree takes, measured."""

    processes: int
    memory_bytes: int
    cpu_cores: float


class RunState(BaseModel):
    """The supervisor's last word."""

    model_config = ConfigDict(extra="ignore")

    pid: int
    phase: Phase
    ready: bool = False
    url: str
    shop_id: str
    shop: str
    some_user: str = "anybody"
    ray_address: str | None = None
    release: str | None = None
    missing: list[str] = Field(default_factory=list)
    unfit: dict[str, str] = Field(default_factory=dict)
    """Job -> what the shop lacks to train it."""
    training: str | None = None
    routes: list[str] = Field(default_factory=list)
    deployments: list[DeploymentState] = Field(default_factory=list)
    usage: Usage | None = None
    error: str | None = None
    exit_code: int = 1
    updated_s: float = Field(default_factory=time.time)

    @property
    def awaited(self) -> list[str]:
        """Jobs that are missing and will come."""
        return [job for job in self.missing if job not in self.unfit]

    def save(self, home: Home) -> None:
        self.updated_s = time.time()
        write_bytes(_path(home), self.model_dump_json(indent=1).encode())


def load_run_state(home: Home) -> RunState | None:
    """None where nothing was ever started here, or the file is of another version."""
    try:
        return RunState.model_validate_json(_path(home).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def log_file(home: Home) -> Path:
    return home.run / "supervisor.log"


def _path(home: Home) -> Path:
    return home.run / "state.json"
