"""How well a recommender could do that knew everything but the future: the bound for every model on a sample shop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.datasets.sample.spec import stream
from training.datasets.sample.truth import USERS, VIEWS, matrix, read_model, states

TOP = 10
BLOCK = 256
LEAST_POSITIVES = 3


def oracle_metrics(shop_path: Path, *, max_users: int | None = None, seed: int = 0) -> dict[str, float]:
    """ndcg@10 and hr@10 of the true choice model's ranking of the whole catalogue for each user's last view.

    It knows the person, the session's intent, clocks, season and promotions, and what came before; ties by item_id.
    """
    targets = last_views(pq.read_table(shop_path / VIEWS), max_users=max_users, seed=seed)
    state, model = states(targets, pq.read_table(shop_path / USERS)), read_model(shop_path)
    item_B = matrix(targets, "item").astype(int)
    ranks = np.concatenate(
        [
            rank_of(model.distribution(state.take(slice(start, start + BLOCK))), item_B[start : start + BLOCK])
            for start in range(0, len(item_B), BLOCK)
        ]
    )
    gains = np.where(ranks < TOP, 1 / np.log2(ranks + 2), 0.0)
    return {"ndcg@10": float(gains.mean()), "hr@10": float((ranks < TOP).mean()), "users": float(len(ranks))}


def last_views(views: pa.Table, *, max_users: int | None, seed: int) -> pa.Table:
    """The last view of every user (or of `max_users` of them) who has at least three."""
    users = views["user_id"].combine_chunks().dictionary_encode()
    codes = np.asarray(users.indices)
    last = len(codes) - 1 - np.unique(codes[::-1], return_index=True)[1]
    last = last[np.bincount(codes)[codes[last]] >= LEAST_POSITIVES]
    if max_users is not None and max_users < len(last):
        last = np.sort(stream(seed, 9).choice(last, max_users, replace=False))
    return views.take(last)


def rank_of(score_BN: np.ndarray, item_B: np.ndarray) -> np.ndarray:
    """0-based rank of each row's item; among equals the smaller item number goes first."""
    own_B1 = score_BN[np.arange(len(item_B)), item_B][:, None]
    before = np.arange(score_BN.shape[1]) < item_B[:, None]
    return ((score_BN > own_B1) | ((score_BN == own_B1) & before)).sum(1)
