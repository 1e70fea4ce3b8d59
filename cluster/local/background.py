"""What runs beside serving at low priority: training of jobs without a champion, pictures of the sample shop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from cluster.local.processes import die_with_parent
from training.contracts.errors import InputError, Problem, ShopkeeperError

STOP_S = 10.0
DRAW = """
import sys
from pathlib import Path
from training.datasets.sample import draw_images
draw_images(Path(sys.argv[1]), workers=1)
"""


class BackgroundProcess:
    """A child that yields the processor to whoever serves and ends with its parent; its remarks go to our stderr."""

    def __init__(self, label: str, command: list[str], *, niceness: int, answer: Path | None = None) -> None:
        self.label = label
        self._answer = answer
        with open(answer or os.devnull, "wb") as stdout:
            self._process = subprocess.Popen(
                ["nice", "-n", str(niceness), *command],
                stdin=subprocess.DEVNULL, stdout=stdout, preexec_fn=die_with_parent,  # noqa: PLW1509
            )  # fmt: skip

    def ended(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.poll()

    def failure(self) -> ShopkeeperError:
        """Why it failed, as its `--json` answer says."""
        try:
            document = json.loads(self._answer.read_bytes()) if self._answer else {}
        except (OSError, ValueError):
            document = {}
        if problems := document.get("problems"):
            return InputError([Problem(**problem) for problem in problems])
        return ShopkeeperError(document.get("error") or f"{self.label} ended with exit code {self.ended()}")

    def stop(self) -> None:
        if self.ended() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()


def train_in_background(job: str, shop: Path, *, answer: Path) -> BackgroundProcess:
    """`shopkeeper train` in a process of its own; `answer` gets what it says under --json."""
    options = ["--data", str(shop.absolute()), "--workers", "0", "--json"]
    command = [sys.executable, "-m", "cluster.cli", "train", job, *options]
    return BackgroundProcess(job, command, niceness=5, answer=answer)


def draw_in_background(shop: Path) -> BackgroundProcess:
    """Draws the sample shop's pictures that are still missing."""
    return BackgroundProcess("pictures", [sys.executable, "-c", DRAW, str(shop.absolute())], niceness=19)
