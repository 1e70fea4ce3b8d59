"""Items kept out of training entirely: HR@50 of the recommender against nearest neighbours by text.

Two disjoint tenths of the catalogue are drawn by the seed. For the `test` part no event on an item of the first tenth
is trained on, and the cases are the users whose last event is on one of them. The `validation` part, for choosing
settings, forgets every user's last event first and then does the same with the second tenth. All items are ranked,
those of the user's history left out; what a user did with other kept-out items is not part of the history.

    python tests/bench/cold_items.py --data ../shared/data/recsys/amazon_beauty
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import yaml
from record import Recording

from training.contracts.progress import NoProgress
from training.contracts.shop import Shop, new_shop
from training.datasets.registry import DATASETS
from training.features.content import hashed, item_text, normalised, rarity
from training.features.vocabulary import Codes, Vocabulary
from training.jobs.job import LocalReport
from training.jobs.recommender import CONTENT_COLUMNS, RecommenderConfig, fit, load
from training.metrics import Bools, Floats, Ints, ranking_metrics, target_ranks
from training.models.recommender import Recommender
from training.models.text_encoder import MINILM, TextEncoder

KEPT_OUT = 0.1
PARTS = ("validation", "test")
NEWEST = (1, 3, 10, 50)
"""Newest items of a history whose mean the text baselines search with."""
CUTOFF = 50
CASES_PER_BLOCK = 256

Score = Callable[[Sequence[Codes]], Floats]


class ColdCases(NamedTuple):
    """Warm histories, oldest first, and the kept-out item that came next."""

    histories: list[Codes]
    targets_U: Ints


class Part(NamedTuple):
    """What may be trained on, and whom it is judged by."""

    events: pa.Table
    cases: ColdCases


def part_of(shop: Shop, vocabulary: Vocabulary, cold_I: Bools, *, forget_last: bool) -> Part:
    """Events on warm items only, and the users whose last event is on a cold one."""
    events = shop.table("events").sort_by([("user_id", "ascending"), ("timestamp", "ascending")])
    users = np.asarray(events["user_id"].combine_chunks().dictionary_encode().indices)
    if forget_last:
        events = events.filter(pa.array(np.append(users[1:] == users[:-1], False)))
        users = np.asarray(events["user_id"].combine_chunks().dictionary_encode().indices)
    codes = vocabulary.encode(events["item_id"])
    ends = np.flatnonzero(np.append(users[1:] != users[:-1], True))
    starts = np.concatenate([[0], ends[:-1] + 1])
    histories, targets = [], []
    for start, end in zip(starts, ends, strict=True):
        seen = codes[start:end]
        warm = seen[~cold_I[seen]]
        if cold_I[codes[end]] and len(warm):
            histories.append(warm)
            targets.append(codes[end])
    return Part(events.filter(pa.array(~cold_I[codes])), ColdCases(histories, np.array(targets, np.int64)))


def hit_rates(score: Score, cases: ColdCases) -> dict[str, float]:
    """HR@10, HR@50 and NDCG@10 over the whole catalogue."""
    ranks = []
    for first in range(0, len(cases.targets_U), CASES_PER_BLOCK):
        histories = cases.histories[first : first + CASES_PER_BLOCK]
        scores_BI = score(histories)
        for scores_I, history in zip(scores_BI, histories, strict=True):
            scores_I[history] = -np.inf
        ranks.append(target_ranks(scores_BI, cases.targets_U[first : first + CASES_PER_BLOCK]))
    ranks_U = np.concatenate(ranks)
    metrics = ranking_metrics(ranks_U)
    return {
        "hr@50": float((ranks_U <= CUTOFF).mean()), "hr@10": metrics["hr@10"], "ndcg@10": metrics["ndcg@10"],
    }  # fmt: skip


def text_neighbours(vectors_IT: Any, newest: int) -> Score:
    """Cosine of every item's text to the mean of the history's newest texts."""

    def score(histories: Sequence[Codes]) -> Floats:
        means = [np.asarray(vectors_IT[history[-newest:]].mean(axis=0)).reshape(1, -1) for history in histories]
        return np.asarray(np.concatenate(means) @ vectors_IT.T, np.float32)

    return score


def texts_of(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each item's title, category, brand, description and tags as unit vectors: of a sentence encoder, of TF-IDF."""
    counts_IH = hashed(items)
    used = np.unique(counts_IH.indices)
    return {
        "minilm": TextEncoder(MINILM).encode([item_text(item) for item in items]),
        "tfidf": normalised(counts_IH, rarity(counts_IH))[:, used],
    }


def baselines(texts: Mapping[str, Any], cases: ColdCases) -> dict[str, dict[str, float]]:
    return {
        f"{name}, newest {newest}": hit_rates(text_neighbours(vectors_IT, newest), cases)
        for name, vectors_IT in texts.items()
        for newest in NEWEST
    }


def ours(shop: Shop, part: Part, config: RecommenderConfig, scratch: Path) -> dict[str, Any]:
    """The job's own fit on the warm events, its bundle asked for the cold cases."""
    with new_shop(scratch / "shop", shop.info) as writer:
        writer.write("items", shop.table("items"))
        writer.write("events", part.events)
    data = load(Shop(scratch / "shop"), config)
    result = fit(config, data, LocalReport(scratch / "checkpoints"), scratch / "bundle")
    recommender = Recommender.load(scratch / "bundle")
    assert recommender.vocabulary.ids == data.vocabulary.ids
    return {
        **hit_rates(recommender.score, part.cases), "model": result.model, "cpu_seconds": result.cpu_seconds,
        "warm_validation_ndcg@10": result.validation["ndcg@10"],
    }  # fmt: skip


def kept_out(items: int, seed: int) -> dict[str, Bools]:
    """A mask of cold items for each part."""
    order, size = np.random.default_rng(seed).permutation(items), round(KEPT_OUT * items)
    masks = {}
    for place, name in enumerate(reversed(PARTS)):
        masks[name] = np.zeros(items, np.bool_)
        masks[name][order[place * size : (place + 1) * size]] = True
    return masks


def measure(shop: Shop, config: RecommenderConfig | None, parts: Sequence[str], seed: int) -> dict[str, Any]:
    rows = {row["item_id"]: row for row in shop.table("items", CONTENT_COLUMNS).to_pylist()}
    vocabulary = Vocabulary(rows)
    masks, texts = kept_out(len(vocabulary), seed), texts_of([rows[item_id] for item_id in vocabulary.ids])
    figures: dict[str, Any] = {}
    for name in parts:
        part = part_of(shop, vocabulary, masks[name], forget_last=name == "validation")
        figures[name] = {"cases": len(part.cases.targets_U), "text_knn": baselines(texts, part.cases)}
        if config is not None:
            with tempfile.TemporaryDirectory() as scratch:
                own = config.model_copy(update={"seed": seed})
                figures[name]["recommender"] = ours(shop, part, own, Path(scratch))
        print(name, json.dumps(figures[name]), flush=True)
    return figures


def compared(by_seed: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """The baseline that is best on validation (on test where only that was run), and the ratio on test."""
    judged = {seed: figures.get("validation", figures["test"])["text_knn"] for seed, figures in by_seed.items()}
    names = list(next(iter(judged.values())))
    chosen = max(names, key=lambda name: sum(knn[name]["hr@50"] for knn in judged.values()))
    knn = [figures["test"]["text_knn"][chosen]["hr@50"] for figures in by_seed.values()]
    own = [figures["test"]["recommender"]["hr@50"] for figures in by_seed.values()]
    ratios = [mine / theirs for mine, theirs in zip(own, knn, strict=True)]
    return {
        "text_knn": chosen, "text_knn_hr@50": float(np.mean(knn)), "recommender_hr@50": float(np.mean(own)),
        "ratio": {"mean": float(np.mean(ratios)), "least": min(ratios), "most": max(ratios)},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of the amazon-sequences format")
    parser.add_argument("--config", type=Path, default=Path("configs/training/recommender-beauty.yaml"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", choices=PARTS, action="append", help="default: both")
    parser.add_argument("--baselines-only", action="store_true", help="train nothing, record nothing")
    options = parser.parse_args()
    seeds, config = list(range(options.seeds)), None
    if not options.baselines_only:
        config = RecommenderConfig.model_validate(yaml.safe_load(options.config.read_text()) or {})
    recording = Recording("cold_items", seeds=seeds)
    with tempfile.TemporaryDirectory() as folder:
        DATASETS["amazon-sequences"].read(options.data, Path(folder) / "shop", force=False, progress=NoProgress())
        shop = Shop(Path(folder) / "shop")
        by_seed = {seed: measure(shop, config, options.part or PARTS, seed) for seed in seeds}
    if config is not None and "test" in next(iter(by_seed.values())):
        recording.write({
            "config": config.model_dump(mode="json"), **compared(by_seed),
            "by_seed": {str(seed): figures for seed, figures in by_seed.items()},
        })  # fmt: skip


if __name__ == "__main__":
    main()
