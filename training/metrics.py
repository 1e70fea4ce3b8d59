"""Ranking metrics over a full catalogue, by ranks; ties go to the smaller code, which is the smaller item_id."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TAIL_BELOW = 10
NEVER = np.iinfo(np.int64).max  # the rank of a target that is left out of the ranking


def target_ranks(scores_BI: Floats, targets_B: npt.NDArray[np.integer]) -> Ints:
    """1 + items that score higher, or as high with a smaller code; NEVER for a target whose score is -inf."""
    target_B1 = np.take_along_axis(scores_BI, targets_B[:, None].astype(np.int64), axis=1)
    ranks = 1 + np.count_nonzero(scores_BI > target_B1, axis=1)
    equal_BI = scores_BI == target_B1
    for row in np.flatnonzero(np.count_nonzero(equal_BI, axis=1) > 1):
        ranks[row] += np.count_nonzero(equal_BI[row, : targets_B[row]])
    return np.where(np.isneginf(target_B1[:, 0]), NEVER, ranks).astype(np.int64)


def top_k(scores_BI: Floats, k: int, order_I: Ints | None = None) -> Ints:
    """Columns of the k best scores of each row, best first; ties by column, or by `order_I[column]` where given."""
    items = scores_BI.shape[1]
    k = min(k, items)
    if k == 0:
        return np.zeros((len(scores_BI), 0), np.int64)
    best_BK = np.argpartition(scores_BI, items - k, axis=1)[:, items - k :]
    return (
        np.stack([_best_of_row(row, best, k, order_I) for row, best in zip(scores_BI, best_BK, strict=True)])
        if len(scores_BI)
        else np.zeros((0, k), np.int64)
    )


def _best_of_row(scores_I: Floats, best_K: Ints, k: int, order_I: Ints | None) -> Ints:
    threshold = scores_I[best_K].min()
    columns = np.flatnonzero(scores_I >= threshold)
    ties = columns if order_I is None else order_I[columns]
    return columns[np.lexsort((ties, -scores_I[columns]))[:k]]


def ranking_metrics(ranks_U: Ints) -> dict[str, float]:
    """hr@5 hr@10 ndcg@5 ndcg@10 mrr of the targets' ranks; zeros where there is nothing to judge."""
    if not len(ranks_U):
        return dict.fromkeys(("hr@5", "hr@10", "ndcg@5", "ndcg@10", "mrr"), 0.0)
    hits = {f"hr@{k}": float(np.mean(ranks_U <= k)) for k in (5, 10)}
    gains = 1.0 / np.log2(1.0 + np.minimum(ranks_U, 1_000_000))
    ndcg = {f"ndcg@{k}": float(np.mean(np.where(ranks_U <= k, gains, 0.0))) for k in (5, 10)}
    reciprocal = np.where(ranks_U == NEVER, 0.0, 1.0 / ranks_U)
    return {**hits, **ndcg, "mrr": float(np.mean(reciprocal))}


def list_metrics(top_UK: Ints, training_counts_I: Ints) -> dict[str, float]:
    """coverage@10: share of the catalogue in any list; tail_share@10: share of places given to tail items."""
    if not top_UK.size:
        return {"coverage@10": 0.0, "tail_share@10": 0.0}
    return {
        "coverage@10": len(np.unique(top_UK)) / len(training_counts_I),
        "tail_share@10": float(np.mean(training_counts_I[top_UK] < TAIL_BELOW)),
    }


def auc(scores_N: npt.NDArray[np.floating], positive_N: Bools) -> float:
    """P(a positive scores above a negative), ties count half; .5 where there is only one kind."""
    positives = int(positive_N.sum())
    negatives = len(positive_N) - positives
    if not positives or not negatives:
        return 0.5
    _, places_N, counts = np.unique(scores_N, return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(counts) - (counts - 1) / 2
    excess = float(mean_ranks[places_N][positive_N].sum()) - positives * (positives + 1) / 2
    return excess / (positives * negatives)


def group_auc(scores_N: npt.NDArray[np.floating], positive_N: Bools, groups_N: Ints) -> float:
    """GAUC: the AUC within each group that has both kinds, weighted by its size (Zhou et al. 2018)."""
    aucs_G, sizes_G = group_aucs(scores_N, positive_N, groups_N)
    return float(aucs_G @ sizes_G / sizes_G.sum()) if sizes_G.any() else 0.5


def group_aucs(
    scores_N: npt.NDArray[np.floating], positive_N: Bools, groups_N: Ints
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """AUC and size of each group in order of its number; both 0 where it has one kind only."""
    order = np.argsort(groups_N, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups_N[order])) + 1)
    aucs_G, sizes_G = np.zeros(len(parts)), np.zeros(len(parts))
    for place, rows in enumerate(parts):
        if 0 < positive_N[rows].sum() < len(rows):
            aucs_G[place], sizes_G[place] = auc(scores_N[rows], positive_N[rows]), len(rows)
    return aucs_G, sizes_G


def log_loss(probability_N: npt.NDArray[np.floating], positive_N: Bools) -> float:
    """Mean of -log P(what happened)."""
    clipped_N = np.clip(probability_N, 1e-12, 1 - 1e-12)
    return float(-np.mean(np.where(positive_N, np.log(clipped_N), np.log1p(-clipped_N))))


def calibration_error(probability_N: npt.NDArray[np.floating], positive_N: Bools, bins: int = 15) -> float:
    """ECE: |mean probability - share of positives| over bins of equal mass."""
    order = np.argsort(probability_N, kind="stable")
    parts = [rows for rows in np.array_split(order, bins) if len(rows)]
    gaps = [abs(float(probability_N[rows].mean()) - float(positive_N[rows].mean())) * len(rows) for rows in parts]
    return sum(gaps) / max(len(order), 1)
