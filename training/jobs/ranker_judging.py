"""How rankers are judged: impressions by AUC and calibration, choices by NDCG, margins by bootstrap over users."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from training.jobs.ranker_data import RankerData
from training.jobs.ranker_examples import Examples
from training.jobs.slates import HEADS
from training.metrics import auc, calibration_error, group_auc, log_loss
from training.models.ranker import Ranker

TOP = 10
BOOTSTRAPS = 200
Floats = npt.NDArray[np.float64]


def judged(ranker: Ranker, examples: Examples, heads: tuple[str, ...]) -> dict[str, float]:
    """auc, logloss, gauc (per user, weighted by impressions) and ece of the main head, then of the others by name."""
    probabilities_NH = np.concatenate(ranker.predict(examples.inputs))
    users_N, labels_NH = examples.users_N, examples.labels_NH
    metrics: dict[str, float] = {}
    for head in (head for head in heads if head in ranker.heads):
        values_N, positive_N = probabilities_NH[:, ranker.heads.index(head)], labels_NH[:, HEADS.index(head)]
        prefix = "" if head == heads[0] else f"{head}_"
        metrics |= {
            f"{prefix}auc": auc(values_N, positive_N),
            f"{prefix}gauc": group_auc(values_N, positive_N, users_N),
            f"{prefix}logloss": log_loss(values_N, positive_N),
            f"{prefix}ece": calibration_error(values_N, positive_N),
        }
    return metrics


def two_stages(ranker: Ranker, data: RankerData) -> dict[str, float]:
    """NDCG@10 of users' last positives among retrieval's candidates: ranked, and in retrieval's order."""
    examples = data.test_choices
    if not len(examples):
        return {"two_stage_ndcg@10": 0.0, "one_stage_ndcg@10": 0.0}
    ordered_N = np.concatenate([ranker.order(found_CH) for found_CH in ranker.predict(examples.inputs)])
    plain_N = np.concatenate([one.features_CF[:, 0] for one in examples.inputs]).astype(np.float64)
    return {
        "two_stage_ndcg@10": float(choice_gains(ordered_N, examples).sum()) / data.test_asked,
        "one_stage_ndcg@10": float(choice_gains(plain_N, examples).sum()) / data.test_asked,
    }


def choice_gains(scores_N: Floats, choices: Examples) -> Floats:
    """NDCG@10 of each choice by the scores of all their candidates; the best-placed item taken counts."""
    ends = np.cumsum([len(slate.item_ids) for slate in choices.slates])[:-1]
    gains = np.zeros(len(choices))
    for place, (scores_C, slate) in enumerate(zip(np.split(scores_N, ends), choices.slates, strict=True)):
        rank = int((scores_C > scores_C[slate.labels_CH.any(axis=1)].max()).sum())
        gains[place] = 1.0 / np.log2(rank + 2) if rank < TOP else 0.0
    return gains


def margins(rankers: Mapping[str, Ranker], data: RankerData, best: str, others: Sequence[str], seed: int) -> list[str]:
    """95 % intervals of the margin of `best` on test over each of the others, by bootstrap over users."""
    test = data.slates["test"]
    values = {name: np.concatenate(ranker.predict(test.inputs))[:, 0] for name, ranker in rankers.items()}
    positive_N, users_N = test.labels_NH[:, HEADS.index(data.heads[0])], test.users_N
    order = np.argsort(users_N, kind="stable")
    rows_of = np.split(order, np.flatnonzero(np.diff(users_N[order])) + 1)
    draws = [np.random.default_rng((seed, n)).integers(len(rows_of), size=len(rows_of)) for n in range(BOOTSTRAPS)]
    samples = [np.concatenate([rows_of[user] for user in draw]) for draw in draws]
    # A user who is drawn twice is two groups.
    groups = [np.repeat(np.arange(len(draw)), [len(rows_of[user]) for user in draw]) for draw in draws]
    measures: dict[str, Callable[[Floats, npt.NDArray[np.bool_], npt.NDArray[np.int64]], float]] = {
        "AUC": lambda scores, positive, _: auc(scores, positive),
        "GAUC": group_auc,
    }
    said = []
    for other in others:
        for name, measure in measures.items():
            drawn = [
                measure(values[best][rows], positive_N[rows], group)
                - measure(values[other][rows], positive_N[rows], group)
                for rows, group in zip(samples, groups, strict=True)
            ]
            low, high = np.quantile(drawn, [0.025, 0.975])
            whole = measure(values[best], positive_N, users_N) - measure(values[other], positive_N, users_N)
            said.append(
                f"{best} above {other} on test by {whole:+.4f} {name} (95 % of users drawn: {low:+.4f} {high:+.4f})"
            )
    return said
