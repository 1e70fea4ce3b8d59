"""What runs beside serving at low priority: training of jobs without a champion, pictures of the sample shop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

STOP_S = 10.0
DRAW = """
import sys
from pathlib import Path
from training.datasets.sample import draw_images
draw_images(Path(sys.argv[1]), workers=1)
"""


class BackgroundProcess:
    """A child that yields the processor to whoever serves; its remarks go to this process's stderr."""

    def __init__(self, label: str, command: list[str], *, niceness: int) -> None:
        self.label = label
        self._process = subprocess.Popen(
            ["nice", "-n", str(niceness), *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    def ended(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        if self.ended() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()


def train_in_background(job: str, shop: Path) -> BackgroundProcess:
    """`shopkeeper train` in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "cluster.cli",
        "train",
        job,
        "--data",
        str(shop.absolute()),
        "--workers",
        "0",
        "--json",
    ]
    return BackgroundProcess(job, command, niceness=5)


def draw_in_background(shop: Path) -> BackgroundProcess:
    """Draws the sample shop's pictures that are still missing."""
    return BackgroundProcess("pictures", [sys.executable, "-c", DRAW, str(shop.absolute())], niceness=19)
