"""Batch inference of any job with Ray Data: inputs stream in, predictions stream into one Parquet file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import ray.data

from training.contracts.errors import InputError, Problem
from training.contracts.progress import Progress
from training.contracts.shop import Shop
from training.features.profile import EVENT_COLUMNS, EventHistory
from training.models.recommender import Recommender

BLOCK_USERS = 2_048
BATCH_USERS = 512
RECOMMENDATIONS = pa.schema(
    [("user_id", pa.string()), ("rank", pa.int32()), ("item_id", pa.string()), ("score", pa.float32())]
)


class RecommendBatch:
    """The best `limit` items for each user of a batch; one actor loads the bundle once."""

    def __init__(self, folder: str, limit: int, repeats: bool) -> None:
        self.recommender, self.limit, self.repeats = Recommender.load(Path(folder)), limit, repeats

    def __call__(self, batch: pa.Table) -> pa.Table:
        histories = batch["history"].to_pylist()
        masks = None if self.repeats else [self._unseen(history) for history in histories]
        found, scores = self.recommender.retrieve(histories, self.limit, masks)
        rows: dict[str, list[Any]] = {name: [] for name in RECOMMENDATIONS.names}
        for user_id, slots_K, scores_K in zip(batch["user_id"].to_pylist(), found, scores, strict=True):
            rows["user_id"] += [user_id] * len(slots_K)
            rows["rank"] += range(1, len(slots_K) + 1)
            rows["item_id"] += [self.recommender.item_ids[slot] for slot in slots_K]
            rows["score"] += scores_K.tolist()
        return pa.table(rows, schema=RECOMMENDATIONS)

    def _unseen(self, history: list[str]) -> npt.NDArray[np.bool_]:
        mask_S = np.ones(len(self.recommender), np.bool_)
        slots = [slot for slot in map(self.recommender.slot, history) if slot is not None]
        mask_S[slots] = False
        return mask_S


def user_histories(shop: Shop) -> Iterator[pa.Table]:
    """Blocks of user_id and history (interest item ids, oldest first) as of the end of the shop's events."""
    events = EventHistory(shop.table("events", EVENT_COLUMNS))
    users = list(events.users())
    for first in range(0, len(users), BLOCK_USERS):
        block = users[first : first + BLOCK_USERS]
        profiles = [events.profile(user, as_of_us=2**62) for user in block]
        histories = [list(profile.item_ids) for profile in profiles]
        yield pa.table({"user_id": block, "history": pa.array(histories, pa.list_(pa.string()))})


# job -> (blocks of inputs, the class that predicts a batch)
BATCH_JOBS: dict[str, tuple[Callable[[Shop], Iterator[pa.Table]], type[RecommendBatch]]] = {
    "recommender": (user_histories, RecommendBatch),
}


def predict_to_file(
    job: str, folder: Path, shop: Shop, out: Path, *, limit: int, workers: int, progress: Progress
) -> int:
    """Predictions for the whole shop into `out` (Parquet), which appears when they are complete; returns the rows."""
    inputs, predictor = BATCH_JOBS[job]
    blocks = list(inputs(shop))
    if not blocks:
        raise InputError(Problem(table="events", problem="no user has an event: nothing to predict for"))
    predictions = ray.data.from_arrow(blocks).map_batches(
        predictor,
        fn_constructor_args=(str(folder), limit, shop.info.repeats),
        batch_size=BATCH_USERS,
        batch_format="pyarrow",
        concurrency=workers,
        num_cpus=0.5,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    progress.stage(f"predicting {job}", sum(len(block) for block in blocks) * limit)
    rows = 0
    try:
        with pq.ParquetWriter(partial, RECOMMENDATIONS) as writer:
            for batch in predictions.iter_batches(batch_size=None, batch_format="pyarrow"):
                writer.write_table(batch.cast(RECOMMENDATIONS))
                rows += len(batch)
                progress.advance(len(batch))
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return rows
