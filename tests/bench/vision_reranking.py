"""What re-ranking by its defaults gains and costs, on trained bundles and all of their test pictures.

python tests/bench/vision_reranking.py --of fashion_mnist BUNDLE SHOP --of clothing_small BUNDLE SHOP
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Recording

from training.contracts.shop import Shop
from training.jobs.retrieval_metrics import LIST_LENGTH, hit_metrics, relevant
from training.jobs.vision_bundle import shop_pictures
from training.jobs.vision_config import VisionConfig
from training.jobs.vision_data import load
from training.jobs.vision_judging import embedded
from training.models.graph_reranking import RerankConfig
from training.models.visual_search import VisualSearch


def measured(bundle: Path, shop: Path) -> dict[str, Any]:
    """recall@1, recall@5 and map@10 of both orders, and the milliseconds that re-ranking adds to a search."""
    search = VisualSearch.load(bundle)
    search.reranking = RerankConfig()
    data = load(Shop(shop), VisionConfig(side=search.side))
    queries = embedded(search.embedder, shop_pictures(data, cache_bytes=1 << 30)["test"])
    labels = {label: code for code, label in enumerate(data.labels)}
    label_of = {shot.image_id: labels[shot.label] for shot in data.gallery}
    slots_S = np.array([label_of[image_id] for image_id in search.index.ids])
    wanted_Q = queries.codes(data.labels)
    told: dict[str, Any] = {"queries": len(wanted_Q), "gallery": len(slots_S)}
    seconds = {}
    for name, enabled in (("plain", False), ("reranked", True)):
        order, hits_QK = search.reordered(enabled), np.zeros((len(wanted_Q), LIST_LENGTH), np.bool_)
        begun_s = time.process_time()
        for row, vector_D in enumerate(queries.vectors_ND):
            found_K, _ = order.images(vector_D, LIST_LENGTH)
            hits_QK[row, : len(found_K)] = slots_S[found_K] == wanted_Q[row]
        seconds[name] = (time.process_time() - begun_s) / len(wanted_Q)
        told[name] = hit_metrics(hits_QK, relevant(wanted_Q, slots_S))
    return {**told, "added_ms": 1000 * (seconds["reranked"] - seconds["plain"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--of", nargs=3, action="append", required=True, metavar=("NAME", "BUNDLE", "SHOP"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    recording, figures = Recording("vision_reranking", seeds=[0]), {}
    for name, bundle, shop in options.of:
        figures[name] = measured(Path(bundle), Path(shop))
        recording.write(figures)


if __name__ == "__main__":
    main()
