"""What the default vision config reaches on picture shops, and beside it a plain classifier's last layer but one.

python tests/bench/vision_quality.py --shop fashion-mnist ../shared/data/vision/fashion_mnist \
    --shop image-folders ../shared/data/vision/clothing_small --name vision_quality
python tests/bench/vision_quality.py --sample 1 --name vision_sample
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from record import Recording
from running_shop import run

from training.datasets.sample import generate

KEPT = ("model", "metrics", "validation", "baselines", "train_seconds", "cpu_seconds", "notes")
SOFTMAX = ("--set", "head=softmax", "--set", "detector.enabled=false")


def train(home: Path, shop: Path, seed: int, *settings: str) -> dict[str, Any]:
    """`shopkeeper train vision` in process on one thread."""
    result = run(home, "train", "vision", "--data", str(shop), "--workers", "0", "--seed", str(seed), *settings)
    return {name: result[name] for name in KEPT}


def spread(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean, least and most of every metric."""
    values = {name: [one["metrics"][name] for one in runs] for name in runs[0]["metrics"]}
    return {
        name: {"mean": sum(found) / len(found), "least": min(found), "most": max(found)}
        for name, found in values.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shop", nargs=2, action="append", default=[], metavar=("FORMAT", "FOLDER"))
    parser.add_argument("--sample", type=int, action="append", default=[], metavar="SEED", help="a sample shop too")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--softmax", action="store_true", help="a plain classifier beside it, one seed")
    parser.add_argument("--set", action="append", default=[], help="a setting for all runs")
    parser.add_argument("--name", default="vision_quality")
    options = parser.parse_args()
    seeds, settings = list(range(options.seeds)), [word for one in options.set for word in ("--set", one)]
    recording, figures = Recording(options.name, seeds=seeds), {}
    with tempfile.TemporaryDirectory() as folder:
        home, shops = Path(folder) / "home", dict[str, Path]()
        for kind, source in options.shop:
            shops[Path(source).name] = Path(folder) / Path(source).name
            run(home, "data", "import", kind, "--from", source, "--out", str(shops[Path(source).name]))
        for drawn in options.sample:
            shops[f"sample_{drawn}"] = Path(folder) / f"sample_{drawn}"
            generate(shops[f"sample_{drawn}"], size="small", seed=drawn)
        for name, shop in shops.items():
            runs = [train(home, shop, seed, *settings) for seed in seeds]
            figures[name] = {"metrics": spread(runs), "runs": runs}
            if options.softmax:
                figures[name]["softmax_classifier"] = train(home, shop, 0, *settings, *SOFTMAX)
            recording.write(figures)


if __name__ == "__main__":
    main()
