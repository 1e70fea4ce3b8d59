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


def found(home: Path, job: str, **config: int) -> dict[str, Any] | None:
    """The manifest of a bundle of the home that was trained with these settings."""
    for path in home.glob(f"bundles/*/{job}/*/manifest.json"):
        manifest: dict[str, Any] = json.loads(path.read_text())
        if config.items() <= manifest["config"].items():
            return manifest
    return None


def recommender_in(home: Path, shop: str, epochs: int) -> str:
    """The model of the recommender that the home has, or of one that is trained now."""
    given = ("--data", shop, "--workers", "0", "--set", f"epochs={epochs}")
    manifest = found(home, "recommender") or run(home, "train", "recommender", *given)
    return str(manifest["model"])


def train(home: Path, shop: str, seed: int) -> dict[str, Any]:
    """`shopkeeper train ranker` with the default config, in process on one thread; or what the home has of that."""
    given = ("--data", shop, "--workers", "0", "--seed", str(seed))
    result = found(home, "ranker", seed=seed) or run(home, "train", "ranker", *given)
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
    measured = {model: [one["test"][model] for one in runs] for model in MODELS}
    models = {
        model: {name: spread([one[name] for one in each]) for name in each[0] if name not in STAGES}
        for model, each in measured.items()
    }
    return models | {name: spread([one["test"][one["bundled"]][name] for one in runs]) for name in STAGES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shop", action="append", required=True, help="NAME=FOLDER of an imported shop; repeatable")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100, help="of the recommender below; 0 takes its best baseline")
    parser.add_argument("--homes", type=Path, help="keeps the shops' homes there, and takes what was trained in them")
    options = parser.parse_args()
    recording = Recording("ranker_quality", seeds=range(options.seeds))
    figures: dict[str, Any] = {"recommender_epochs": options.epochs}
    shops = dict(given.split("=", 1) for given in options.shop)
    with tempfile.TemporaryDirectory() as scratch:
        homes = {name: (options.homes or Path(scratch)) / name for name in shops}
        for seed in range(options.seeds):
            for name, shop in shops.items():
                figures.setdefault(name, {"recommender": recommender_in(homes[name], shop, options.epochs), "runs": []})
                runs = figures[name]["runs"]
                runs.append(train(homes[name], shop, seed))
                told = ", ".join(f"{model} {runs[-1]['test'][model]['auc']:.4f}" for model in MODELS)
                print(f"{name}, seed {seed}: AUC {told}", file=sys.stderr, flush=True)
                figures[name]["over_seeds"] = over_seeds(runs)
                recording.write(figures)


if __name__ == "__main__":
    main()
