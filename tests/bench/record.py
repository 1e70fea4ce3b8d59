"""How a benchmark writes down what it measured: figures with command, revision, machine, seeds and seconds."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from training.bundles.manifest import code_revision, library_versions
from training.contracts.atomic import write_json

RESULTS = Path(__file__).parent / "results"


class Recording:
    """Times a benchmark from construction and writes `results/NAME.json` when told its figures."""

    def __init__(self, name: str, *, seeds: Sequence[int] = ()) -> None:
        self.name, self.seeds = name, list(seeds)
        self._begun_s = time.monotonic()
        self._revision = code_revision()

    def write(self, figures: dict[str, Any]) -> Path:
        """Replace the recorded result; also prints it."""
        document = {
            "benchmark": self.name,
            "command": " ".join(["python", *_relative(sys.argv)]),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "revision": self._revision,
            "machine": machine(),
            "libraries": library_versions(),
            "seeds": self.seeds,
            "seconds": round(time.monotonic() - self._begun_s, 1),
            "figures": figures,
        }
        path = RESULTS / f"{self.name}.json"
        write_json(path, document)
        print(json.dumps(document["figures"], indent=1))
        return path


def machine() -> dict[str, Any]:
    """What it ran on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _relative(arguments: Sequence[str]) -> list[str]:
    """Paths as seen from the repository's root, NAME=FOLDER as NAME=SHOP: a result names no machine's folders."""
    root = Path(__file__).parents[2]
    named = [argument.split("=", 1) for argument in arguments]
    return [
        f"{name}=SHOP" if path and Path(path[0]).is_absolute()
        else os.path.relpath(name, root) if Path(name).is_absolute()
        else "=".join([name, *path])
        for name, *path in named
    ]  # fmt: skip
