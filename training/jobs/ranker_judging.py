"""What is told of rankers: metrics by head, two stages beside one, and DIN's margins with their intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from training.jobs.ranker_calibration import TOP, ndcg_gains, retrieval_scores
from training.jobs.ranker_data import RankerData
from training.jobs.ranker_examples import Examples
from training.jobs.slates import HEADS
from training.metrics import auc, calibration_error, group_auc, group_aucs, log_loss
from training.models.ranker import Ranker

BOOTSTRAPS = 200
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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


def two_stages(ranker: Ranker, examples: Examples, asked: int) -> dict[str, float]:
    """NDCG@10 of `asked` choices, of which `examples` were among retrieval's candidates: ranked, and as retrieved."""
    orders = [ranker.order(probabilities_CH) for probabilities_CH in ranker.predict(examples.inputs)]
    gains = {"two_stage": ndcg_gains(np.concatenate(orders), examples)} if orders else {}
    gains |= {"one_stage": ndcg_gains(retrieval_scores(examples), examples)} if orders else {}
    return {f"{name}_ndcg@{TOP}": float(gain_L.sum()) / max(asked, 1) for name, gain_L in gains.items()}


def margins(rankers: Mapping[str, Ranker], leader: str, data: RankerData, seed: int) -> list[str]:
    """The leader's margin on test over each other ranker, with its 95 % interval by bootstrap over users."""
    test = data.slates["test"]
    values = {name: np.concatenate(ranker.predict(test.inputs))[:, 0] for name, ranker in rankers.items()}
    positive_N, users_N = test.labels_NH[:, HEADS.index(data.heads[0])], test.users_N
    draws = _draws(users_N, seed)
    measured = {name: _measured(scores_N, positive_N, users_N, draws) for name, scores_N in values.items()}
    said = []
    for other in (name for name in rankers if name != leader):
        for measure, ahead_B in measured[leader].items():
            whole, *drawn = ahead_B - measured[other][measure]
            low, high = np.quantile(drawn, [0.025, 0.975])
            said.append(
                f"{leader} above {other} on test by {whole:+.4f} {measure} "
                f"(95 % of users drawn: {low:+.4f} {high:+.4f})"
            )
    return said


def _draws(users_N: Ints, seed: int) -> list[Ints]:
    """All users once, then BOOTSTRAPS draws of as many, with replacement; users by number."""
    users = int(users_N.max()) + 1
    drawn = (np.random.default_rng((seed, n)).integers(users, size=users) for n in range(BOOTSTRAPS))
    return [np.arange(users), *drawn]


def _measured(
    scores_N: Floats, positive_N: npt.NDArray[np.bool_], users_N: Ints, draws: list[Ints]
) -> dict[str, Floats]:
    """AUC and GAUC of each draw; who is drawn twice is two groups."""
    order = np.argsort(users_N, kind="stable")
    rows_of = np.split(order, np.flatnonzero(np.diff(users_N[order])) + 1)
    aucs_G, sizes_G = group_aucs(scores_N, positive_N, users_N)
    rows = [np.concatenate([rows_of[user] for user in draw]) for draw in draws]
    return {
        "AUC": np.array([auc(scores_N[chosen], positive_N[chosen]) for chosen in rows]),
        "GAUC": np.array([aucs_G[draw] @ sizes_G[draw] / max(sizes_G[draw].sum(), 1.0) for draw in draws]),
    }
