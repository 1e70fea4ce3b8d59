"""Leave-one-out evaluation over the whole catalogue in blocks of users: one function for every model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.contracts.progress import NoProgress, Progress
from training.features.sequences import Cases, Moments
from training.features.vocabulary import Codes
from training.metrics import Floats, Ints, list_metrics, ranking_metrics, target_ranks, top_k

SCORES_PER_BLOCK = 4_000_000
LIST_LENGTH = 10
BINS = (0, 1, 5, 10, 20, 50, 100, 500)

Score = Callable[[Sequence[Codes], Moments], Floats]
"""scores_BI of histories with the times of their tokens."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """`metrics` of all cases and, by training interactions of the target, users, hr@10 and ndcg@10 of each `bins`.

    `ranks_U` are the targets' ranks, from 1, in the order of the cases.
    """

    metrics: dict[str, float]
    bins: dict[str, dict[str, float]]
    ranks_U: Ints


def evaluate(
    score: Score, cases: Cases, training_counts_I: Ints, *, repeats: bool, progress: Progress = NoProgress()
) -> Evaluation:
    """All metrics of the contract; items of the input are left out of the ranking where not `repeats`."""
    ranks, tops = [np.zeros(0, np.int64)], [np.zeros((0, LIST_LENGTH), np.int64)]
    for block, scores_BI in _blocks(score, cases, len(training_counts_I), repeats=repeats):
        ranks.append(target_ranks(scores_BI, block.targets_U))
        tops.append(top_k(scores_BI, LIST_LENGTH))
        progress.advance(len(block))
    ranks_U = np.concatenate(ranks)
    top_UK = np.concatenate(tops[1:]) if len(tops) > 1 else tops[0]
    metrics = {**ranking_metrics(ranks_U), **list_metrics(top_UK, training_counts_I)}
    bins = _by_bin(ranks_U, training_counts_I[cases.targets_U])
    return Evaluation(metrics=metrics, bins=bins, ranks_U=ranks_U)


def selection_score(score: Score, cases: Cases, items: int, *, repeats: bool) -> float:
    """ndcg@10 alone, which is all that early stopping and the choice of settings need."""
    ranks = [
        target_ranks(scores_BI, block.targets_U) for block, scores_BI in _blocks(score, cases, items, repeats=repeats)
    ]
    return ranking_metrics(np.concatenate([np.zeros(0, np.int64), *ranks]))["ndcg@10"]


def _blocks(score: Score, cases: Cases, items: int, *, repeats: bool) -> Iterator[tuple[Cases, Floats]]:
    """Cases in blocks of at most SCORES_PER_BLOCK scores, with these."""
    rows = max(1, SCORES_PER_BLOCK // max(items, 1))
    for start in range(0, len(cases), rows):
        block = cases.take(np.arange(start, min(start + rows, len(cases))))
        scores_BI = score(list(block.inputs), block.inputs.times_us)
        if not repeats:
            lengths_B = block.inputs.lengths_U
            scores_BI[np.repeat(np.arange(len(block)), lengths_B), np.concatenate(list(block.inputs))] = -np.inf
        yield block, scores_BI


def _by_bin(ranks_U: Ints, counts_U: Ints) -> dict[str, dict[str, float]]:
    bins = {}
    for low, high in zip(BINS, (*BINS[1:], None), strict=True):
        chosen = (counts_U >= low) & (counts_U < high if high is not None else True)
        if chosen.any():
            metrics = ranking_metrics(ranks_U[chosen])
            name = f"{low}+" if high is None else str(low) if high == low + 1 else f"{low}-{high - 1}"
            bins[name] = {"users": float(chosen.sum()), "hr@10": metrics["hr@10"], "ndcg@10": metrics["ndcg@10"]}
    return bins
