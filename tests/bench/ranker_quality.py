"""The ranker on the sample shop and on complete-journey: DIN, its ablations, logistic regression, and two stages.

python tests/bench/ranker_quality.py --shop sample=SHOP --shop complete-journey=SHOP --seeds 3
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from record import Recording
from running_shop import run

MODELS = ("din", "mean_pooling", "wide_and_deep", "logistic_regression")
STAGES = ("two_stage_ndcg@10", "one_stage_ndcg@10")


def recommender_in(home: Path, shop: str, epochs: int) -> str:
    """The model of the recommender that the home has, or of one that is trained now."""
    for manifest in home.glob("bundles/*/recommender/*/manifest.json"):
        return str(json.loads(manifest.read_text())["model"])
    given = run(home, "train", "recommender", "--data", shop, "--workers", "0", "--set", f"epochs={epochs}")
    return str(given["model"])


def train(home: Path, shop: str, seed: int) -> dict[str, Any]:
    """`shopkeeper train ranker` with the default config, in process on one thread."""
    result = run(home, "train", "ranker", "--data", shop, "--workers", "0", "--seed", str(seed))
    return {
        "bundled": result["model"],
        "test": {result["model"]: result["metrics"], **result["baselines"]},
        "train_seconds": result["train_seconds"],
        "cpu_seconds": result["cpu_seconds"],
        "notes": result["notes"],
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": sum(values) / len(values), "least": min(values), "most": max(values)}


def over_seeds(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each model's metrics by head, and of what was bundled the order with the ranker and without."""
    found = {model: [one["test"][model] for one in runs] for model in MODELS}
    models = {
        model: {name: spread([one[name] for one in each]) for name in each[0] if name not in STAGES}
        for model, each in found.items()
    }
    return models | {name: spread([one["test"][one["bundled"]][name] for one in runs]) for name in STAGES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shop", action="append", required=True, help="NAME=FOLDER of an imported shop; repeatable")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100, help="of the recommender below; 0 takes its best baseline")
    parser.add_argument("--homes", type=Path, help="keeps the shops' homes there, and takes the recommenders in them")
    options = parser.parse_args()
    recording = Recording("ranker_quality", seeds=range(options.seeds))
    figures: dict[str, Any] = {"recommender_epochs": options.epochs}
    with tempfile.TemporaryDirectory() as folder:
        for name, shop in (given.split("=", 1) for given in options.shop):
            home = (options.homes or Path(folder)) / name
            recommender = recommender_in(home, shop, options.epochs)
            runs: list[dict[str, Any]] = []
            for seed in range(options.seeds):
                runs.append(train(home, shop, seed))
                told = ", ".join(f"{model} {runs[-1]['test'][model]['auc']:.4f}" for model in MODELS)
                print(f"{name}, seed {seed}: AUC {told}", file=sys.stderr, flush=True)
                figures[name] = {"recommender": recommender, "over_seeds": over_seeds(runs), "runs": runs}
                recording.write(figures)


if __name__ == "__main__":
    main()
