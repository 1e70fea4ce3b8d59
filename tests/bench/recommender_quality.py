"""What the default config reaches: on an amazon-sequences folder, and on the sample shop beside its oracle.

python tests/bench/recommender_quality.py --data ../shared/data/recsys/amazon_beauty
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from record import Recording
from running_shop import run

from training.datasets.sample import generate, oracle_metrics


def train(home: Path, shop: Path, seed: int) -> dict[str, Any]:
    """`shopkeeper train recommender` with the default config, in process on one thread."""
    result = run(home, "train", "recommender", "--data", str(shop), "--workers", "0", "--seed", str(seed))
    kept = ("model", "metrics", "validation", "train_seconds", "cpu_seconds", "examples_per_second", "notes")
    baselines = {name: metrics["ndcg@10"] for name, metrics in result["baselines"].items()}
    return {**{name: result[name] for name in kept}, "baselines_ndcg@10": baselines}


def spread(runs: Sequence[dict[str, Any]], metric: str) -> dict[str, float]:
    values = [run_["metrics"][metric] for run_ in runs]
    return {"mean": sum(values) / len(values), "least": min(values), "most": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of the amazon-sequences format")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    seeds = list(range(options.seeds))
    recording = Recording("recommender_quality", seeds=seeds)
    with tempfile.TemporaryDirectory() as folder:
        home, real, sample = Path(folder) / "home", Path(folder) / "real", Path(folder) / "sample"
        run(home, "data", "import", "amazon-sequences", "--from", str(options.data), "--out", str(real))
        generate(sample, size="small", seed=0, images=False)
        on_real = [train(home, real, seed) for seed in seeds]
        on_sample = [train(home, sample, seed) for seed in seeds]
        oracle = oracle_metrics(sample)
    metrics = ("ndcg@10", "hr@10")
    reached = spread(on_sample, "ndcg@10")
    recording.write({
        options.data.name: {**{metric: spread(on_real, metric) for metric in metrics}, "runs": on_real},
        "sample": {
            **{metric: spread(on_sample, metric) for metric in metrics}, "oracle": oracle, "runs": on_sample,
            "share_of_oracle_ndcg@10": reached["mean"] / oracle["ndcg@10"],
        },
    })  # fmt: skip


if __name__ == "__main__":
    main()
