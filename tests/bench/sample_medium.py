"""What the `medium` sample shop costs to generate, without its pictures: seconds, rows and peak memory.

python tests/bench/sample_medium.py
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import Recording

from training.datasets.sample import generate
from training.datasets.sample.spec import SIZES, SizeSpec

RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def measure(spec: SizeSpec, seed: int) -> dict[str, Any]:
    """Figures of one generation; the peak is of this whole process."""
    with tempfile.TemporaryDirectory() as folder:
        began_s = time.monotonic()
        rows = generate(Path(folder) / "shop", size=spec, seed=seed, images=False)
        seconds = time.monotonic() - began_s
        files = [file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()]
    return {
        "seconds": round(seconds, 1),
        "events": rows["events"],
        "events_per_second": round(rows["events"] / seconds),
        "rows": rows,
        "size_mb": round(sum(files) / 1e6, 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT_BYTES / 1e6),
    }


def measure_apart(size: str, seed: int) -> dict[str, Any]:
    """`measure` in a process of its own, so that the peak is the generator's alone."""
    command = [sys.executable, __file__, "--size", size, "--seed", str(seed), "--inside"]
    found: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="medium")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inside", action="store_true", help="measure in this process and print the figures")
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(measure(SIZES[options.size], options.seed)))
        return
    recording = Recording(f"sample_{options.size}", seeds=[options.seed])
    recording.write(measure_apart(options.size, options.seed))


if __name__ == "__main__":
    main()
