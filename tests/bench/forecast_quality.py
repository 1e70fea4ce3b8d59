"""Forecast quality on walmart-weekly and dominicks-oj: the job as shipped, every baseline and member beside it.

python tests/bench/forecast_quality.py --data ../shared/data/forecast
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path
from typing import Any

from record import Recording
from running_shop import run

SETS = {
    "walmart-weekly": ("walmart_weekly", ("--set", "horizon=39", "--set", "covariate_control=false")),
    "dominicks-oj": ("dominicks_oj", ("--set", "horizon=4", "--set", "origins=24")),
}


def measured(home: Path, name: str, folder: Path, options: tuple[str, ...]) -> dict[str, Any]:
    """Import and train one set; what the command says, and the largest process' memory."""
    shop = home / name
    run(home, "data", "import", name, "--from", str(folder), "--out", str(shop))
    said = run(home, "train", "forecaster", "--data", str(shop), "--workers", "0", *options)
    memory_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    kept = ("metrics", "validation", "baselines", "train_seconds", "cpu_seconds", "notes")
    return {**{key: said[key] for key in kept}, "memory_mib": round(memory_kib / 1024)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--only", choices=SETS, action="append", help="by default all")
    options = parser.parse_args()
    recording, figures = Recording("forecast_quality", seeds=[0]), {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.only or SETS:
            folder, settings = SETS[name]
            figures[name] = measured(Path(scratch), name, options.data / folder, settings)
            recording.write(figures)


if __name__ == "__main__":
    main()
