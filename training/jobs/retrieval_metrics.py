"""recall@1, recall@5 and map@10 of pictures that are looked up among others; a hit has the same label."""

from __future__ import annotations

import numpy as np

from training.metrics import Bools, Floats, Ints, top_k

BLOCK = 512
LIST_LENGTH = 10


def retrieval_metrics(queries_QD: Floats, labels_Q: Ints, gallery_ND: Floats, labels_N: Ints) -> dict[str, float]:
    """By inner product; ties by place in the gallery."""
    hits_QK = np.concatenate(
        [np.zeros((0, min(LIST_LENGTH, len(labels_N))), np.bool_)]
        + [
            labels_N[top_k(queries_QD[first : first + BLOCK] @ gallery_ND.T, LIST_LENGTH)]
            == labels_Q[first : first + BLOCK, None]
            for first in range(0, len(labels_Q), BLOCK)
        ]
    )
    return hit_metrics(hits_QK, relevant(labels_Q, labels_N))


def relevant(labels_Q: Ints, labels_N: Ints) -> Ints:
    """How many pictures of the gallery are hits of each query."""
    found, counts = np.unique(labels_N, return_counts=True)
    count_of = dict(zip(found.tolist(), counts.tolist(), strict=True))
    return np.array([count_of.get(label, 0) for label in labels_Q.tolist()], np.int64)


def hit_metrics(hits_QK: Bools, relevant_Q: Ints) -> dict[str, float]:
    """Zeros where nothing was asked."""
    if not hits_QK.size:
        return {"recall@1": 0.0, "recall@5": 0.0, "map@10": 0.0}
    return {
        "recall@1": float(hits_QK[:, 0].mean()),
        "recall@5": float(hits_QK[:, :5].any(axis=1).mean()),
        "map@10": float(average_precision(hits_QK[:, :LIST_LENGTH], relevant_Q).mean()),
    }


def average_precision(hits_QK: Bools, relevant_Q: Ints) -> Floats:
    """Precision at each hit, summed and divided by the hits that a perfect list of the same length has."""
    precision_QK = hits_QK.cumsum(axis=1) / np.arange(1, hits_QK.shape[1] + 1)
    best_Q = np.clip(relevant_Q, 1, hits_QK.shape[1])
    found_Q: Floats = ((precision_QK * hits_QK).sum(axis=1) / best_Q).astype(np.float32)
    return found_Q
