"""What ids, attributes, text and pictures each bring to a shop: several seeds, bins, paired intervals.

python tests/bench/item_tower_ablation.py --data ../shared/data/recsys/amazon_beauty --seeds 3
python tests/bench/item_tower_ablation.py --data ../shared/data/recsys/ml-1m --format movielens-1m --seeds 1 \\
    --variants ids --config configs/training/recommender-ml1m.yaml --name recommender_ml1m
python tests/bench/item_tower_ablation.py --data ../shared/data/recsys/ml-1m --format movielens-1m --seeds 2 \\
    --variants ids ids+images ids+attributes ids+attributes+images --name item_images_ml1m \\
    --config configs/training/recommender.yaml --vision side=64 epochs=30
python tests/bench/item_tower_ablation.py --data SHOP --format shop --vision side=64 epochs=30 \\
    --variants ids ids+images ids+attributes ids+attributes+images --name item_images_sample \\
    --config configs/training/recommender.yaml

The key phrases of the items were written by a language model from their titles: the rows with attributes and text read
them, those of ids alone do not. Epochs are chosen on validation; test is looked at once, at the end.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from record import Recording
from running_shop import run

from training.contracts.progress import NoProgress
from training.contracts.shop import Shop
from training.datasets.registry import DATASETS
from training.jobs.evaluation import Evaluation, evaluate
from training.jobs.job import LocalReport
from training.jobs.recommender import RecommenderConfig, RecommenderData, judge_of, load, transformer_training
from training.models.text_encoder import MINILM

SHOP = "shop"
TAIL = 10
DRAWS = 2_000
MODALITIES: dict[str, dict[str, Any]] = {
    "attributes": {"content": True}, "text": {"text_encoder": MINILM}, "images": {"images": True},
}  # fmt: skip
VARIANTS = ("ids", "ids+attributes", "ids+text", "ids+attributes+text")
PICTURED = ("ids", "ids+images", "ids+attributes", "ids+attributes+images")


def settings(variant: str) -> dict[str, Any]:
    """The part of the config that says what an item is read by."""
    chosen: dict[str, Any] = {"content": False, "text_encoder": None, "images": False}
    for modality in variant.split("+")[1:]:
        chosen |= MODALITIES[modality]
    return chosen


def vision_of(shop: Path, home: Path, settings: Sequence[str]) -> str:
    """The folder of the shop's vision bundle in this home; trained with these settings where there is none."""
    found = sorted(home.glob("bundles/*/vision/*/manifest.json"))
    if not found:
        run(home, "train", "vision", "--data", str(shop), "--workers", "0", *settings)
        found = sorted(home.glob("bundles/*/vision/*/manifest.json"))
    return str(found[-1].parent)


def train(config: RecommenderConfig, data: RecommenderData) -> tuple[Evaluation, dict[str, Any]]:
    """The transformer alone, as `train recommender` trains it, and how long that took."""
    begun_s, begun_cpu_s = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        training = transformer_training(config, data, NoProgress())
        model = training.run(judge_of(config, data), LocalReport(Path(folder)), NoProgress())
    assert model is not None
    seconds, cpu_seconds = time.monotonic() - begun_s, time.process_time() - begun_cpu_s
    validation = evaluate(model.score, data.split.validation, data.counts_I, repeats=data.repeats)
    test = evaluate(model.score, data.split.test, data.counts_I, repeats=data.repeats)
    said = {
        "seed": config.seed, "epochs": training.course.epoch, "best_epoch": training.course.best_epoch,
        "seconds": round(seconds, 1), "cpu_seconds": round(cpu_seconds, 1),
        "validation": {name: validation.metrics[name] for name in ("ndcg@10", "hr@10")},
        "test": test.metrics, "test_bins": test.bins,
    }  # fmt: skip
    return test, said


def gains(evaluation: Evaluation) -> np.ndarray:
    """NDCG@10 of each user."""
    ranks_U = evaluation.ranks_U
    return np.where(ranks_U <= 10, 1.0 / np.log2(ranks_U + 1.0), 0.0)


def paired(gains_RU: np.ndarray, base_RU: np.ndarray, chosen_U: np.ndarray) -> dict[str, float]:
    """Mean difference over the chosen users and all seeds, with a 95 % bootstrap interval over users."""
    difference_U = (gains_RU - base_RU).mean(axis=0)[chosen_U]
    rng = np.random.default_rng(0)
    means = [difference_U[rng.integers(len(difference_U), size=len(difference_U))].mean() for _ in range(DRAWS)]
    low, high = np.quantile(means, (0.025, 0.975))
    return {"difference": float(difference_U.mean()), "low": float(low), "high": float(high)}


def summary(gains_RU: np.ndarray, runs: list[dict[str, Any]], tail_U: np.ndarray) -> dict[str, Any]:
    """Mean and spread over the seeds."""
    told: dict[str, Any] = {}
    for metric in ("ndcg@10", "hr@10"):
        values = [run["test"][metric] for run in runs]
        told[metric] = {"mean": float(np.mean(values)), "least": min(values), "most": max(values)}
    return {**told, "tail_ndcg@10": float(gains_RU[:, tail_U].mean()), "runs": runs}


def figures(
    gains_by_variant: dict[str, np.ndarray],
    runs_by_variant: dict[str, list[dict[str, Any]]],
    data: RecommenderData,
    config: RecommenderConfig,
) -> dict[str, Any]:
    """Every variant that is done, each of them against ids alone where these are done too."""
    tail_U = data.counts_I[data.split.test.targets_U] < TAIL
    told: dict[str, Any] = {
        variant: summary(gains_RU, runs_by_variant[variant], tail_U) for variant, gains_RU in gains_by_variant.items()
    }
    ids_RU = gains_by_variant.get("ids")
    for variant, gains_RU in gains_by_variant.items():
        if ids_RU is not None and variant != "ids":
            told[variant]["over_ids"] = paired(gains_RU, ids_RU, np.ones(len(tail_U), np.bool_))
            told[variant]["over_ids_in_the_tail"] = paired(gains_RU, ids_RU, tail_U)
    told["note"] = "attributes and text include key phrases written by a language model from the items' titles"
    return {**told, "config": config.model_dump(mode="json")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of the format")
    parser.add_argument("--format", default="amazon-sequences", choices=[SHOP, *DATASETS])
    parser.add_argument("--name", default="item_tower_ablation", help="of the recorded result")
    parser.add_argument("--config", type=Path, default=Path("configs/training/recommender-beauty.yaml"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=sorted({*VARIANTS, *PICTURED}))
    parser.add_argument("--home", type=Path, help="keeps the shop's vision there, and takes it from there")
    parser.add_argument("--vision", nargs="*", default=[], metavar="SETTING=VALUE", help="of the vision training")
    options = parser.parse_args()
    seeds, vision = list(range(options.seeds)), [word for one in options.vision for word in ("--set", one)]
    recording = Recording(options.name, seeds=seeds)
    base = RecommenderConfig.model_validate(yaml.safe_load(options.config.read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory() as folder:
        shop = options.data if options.format == SHOP else Path(folder) / "shop"
        if options.format != SHOP:
            DATASETS[options.format].read(options.data, shop)
        if any("images" in variant for variant in options.variants):
            base = base.model_copy(
                update={"upstream": {"vision": vision_of(shop, options.home or Path(folder), vision)}}
            )
        data = load(Shop(shop), base)
        gains_by_variant: dict[str, np.ndarray] = {}
        runs_by_variant: dict[str, list[dict[str, Any]]] = {}
        for variant in options.variants:
            made = [train(base.model_copy(update={**settings(variant), "seed": seed}), data) for seed in seeds]
            gains_by_variant[variant] = np.stack([gains(test) for test, _ in made])
            runs_by_variant[variant] = [run for _, run in made]
            recording.write(figures(gains_by_variant, runs_by_variant, data, base))


if __name__ == "__main__":
    main()
