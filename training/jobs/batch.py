"""Batch inference of any job with Ray Data: inputs stream in, predictions stream into one Parquet file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
from training.features.item_facts import items_of
from training.features.profile import EVENT_COLUMNS, EventHistory, Profile
from training.features.ranking import RankingState, RequestFacts, ranking_inputs
from training.jobs.forecaster_batch import FORECASTS, ForecastBatch, series_of_shop
from training.jobs.past_shop import CANDIDATES
from training.jobs.ranker import STATE_FILE
from training.jobs.ray_data import quiet_ray_data
from training.jobs.upstream import upstream_folder
from training.jobs.vision_batch import NEAREST, NearestBatch, image_paths
from training.models.ranker import load_ranker
from training.models.recommender import Recommender

BLOCK_USERS = 2_048
BATCH_USERS = 512
RECOMMENDATIONS = pa.schema(
    [("user_id", pa.string()), ("rank", pa.int32()), ("item_id", pa.string()), ("score", pa.float32())]
)


Answer = tuple[list[str], npt.NDArray[np.floating]]
"""Item ids and scores, best first."""


class RecommendBatch:
    """The best `limit` items for each user of a batch; one actor loads the bundle once."""

    def __init__(self, folder: str, limit: int, shop: str) -> None:
        self.recommender, self.limit = Recommender.load(Path(folder)), limit
        self.repeats = Shop(shop).info.repeats

    def __call__(self, batch: pa.Table) -> pa.Table:
        answers = self.retrieved(batch["history"].to_pylist(), batch["moments_us"].to_pylist(), self.limit)
        return _rows(batch["user_id"].to_pylist(), answers)

    def retrieved(
        self, histories: Sequence[Sequence[str]], times_us: Sequence[Sequence[int]], limit: int
    ) -> list[Answer]:
        masks = None if self.repeats else [self._unseen(history) for history in histories]
        found, scores = self.recommender.retrieve(histories, limit, masks, times_us)
        return [
            ([self.recommender.item_ids[slot] for slot in slots_K], scores_K)
            for slots_K, scores_K in zip(found, scores, strict=True)
        ]

    def _unseen(self, history: Sequence[str]) -> npt.NDArray[np.bool_]:
        mask_S = np.ones(len(self.recommender), np.bool_)
        slots = [slot for slot in map(self.recommender.slot, history) if slot is not None]
        mask_S[slots] = False
        return mask_S


class RankBatch(RecommendBatch):
    """Retrieval's candidates for each user of a batch in the ranker's order, with its scores."""

    def __init__(self, folder: str, limit: int, shop: str) -> None:
        bundle, opened = Path(folder), Shop(shop)
        super().__init__(str(upstream_folder(bundle, "recommender")), limit, shop)
        self.ranker, self.state = load_ranker(bundle), RankingState.load(bundle / STATE_FILE)
        self.items, self.zone = items_of(opened), opened.info.time_zone
        self.now_us = int(opened.info.reference_date.timestamp() * 1e6)

    def __call__(self, batch: pa.Table) -> pa.Table:
        profiles = [
            Profile(row["user_id"], *(tuple(row[name]) for name in ("history", "kinds", "moments_us", "dwells_s")))
            for row in batch.to_pylist()
        ]
        answers = self.retrieved(
            [profile.item_ids for profile in profiles],
            [profile.timestamps_us for profile in profiles],
            max(CANDIDATES, self.limit),
        )
        inputs = [
            ranking_inputs(
                profile=profile, item_ids=item_ids, retrieval_scores_C=np.asarray(scores_C, np.float32),
                items=self.items, state=self.state, as_of_us=max(self.now_us, profile.newest_us or 0),
                request=RequestFacts(zone=self.zone),
            )
            for profile, (item_ids, scores_C) in zip(profiles, answers, strict=True)
        ]  # fmt: skip
        ordered: list[Answer] = []
        for (item_ids, _), probabilities_CH in zip(answers, self.ranker.predict(inputs), strict=True):
            scores_C = self.ranker.order(probabilities_CH)
            best = sorted(range(len(item_ids)), key=lambda place: (-scores_C[place], item_ids[place]))[: self.limit]
            ordered.append(([item_ids[place] for place in best], scores_C[best]))
        return _rows([profile.user_id for profile in profiles], ordered)


def _rows(user_ids: list[str], answers: Sequence[Answer]) -> pa.Table:
    rows: dict[str, list[Any]] = {name: [] for name in RECOMMENDATIONS.names}
    for user_id, (item_ids, scores_K) in zip(user_ids, answers, strict=True):
        rows["user_id"] += [user_id] * len(item_ids)
        rows["rank"] += range(1, len(item_ids) + 1)
        rows["item_id"] += item_ids
        rows["score"] += scores_K.tolist()
    return pa.table(rows, schema=RECOMMENDATIONS)


def user_histories(shop: Shop) -> Iterator[pa.Table]:
    """Blocks of user_id and the profile (item ids, kinds, moments, dwells; oldest first) at the end of the events."""
    events = EventHistory(shop.table("events", EVENT_COLUMNS))
    users = list(events.users())
    for first in range(0, len(users), BLOCK_USERS):
        block = users[first : first + BLOCK_USERS]
        profiles = [events.profile(user, as_of_us=2**62) for user in block]
        columns = {
            "history": ([profile.item_ids for profile in profiles], pa.string()),
            "kinds": ([profile.kinds for profile in profiles], pa.string()),
            "moments_us": ([profile.timestamps_us for profile in profiles], pa.int64()),
            "dwells_s": ([profile.dwells_s for profile in profiles], pa.float64()),
        }
        lists = {name: pa.array(values, pa.list_(kind)) for name, (values, kind) in columns.items()}
        yield pa.table({"user_id": block, **lists})


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """Blocks of inputs, the class that predicts a batch of them, and the columns of its answers."""

    inputs: Callable[[Shop], Iterator[pa.Table]]
    predictor: type[RecommendBatch] | type[NearestBatch] | type[ForecastBatch]
    answers: pa.Schema
    nothing: Problem


_NO_EVENTS = Problem(table="events", problem="no user has an event: nothing to predict for")
BATCH_JOBS = {
    "recommender": BatchJob(
        inputs=user_histories, predictor=RecommendBatch, answers=RECOMMENDATIONS, nothing=_NO_EVENTS
    ),
    "ranker": BatchJob(inputs=user_histories, predictor=RankBatch, answers=RECOMMENDATIONS, nothing=_NO_EVENTS),
    "vision": BatchJob(
        inputs=image_paths, predictor=NearestBatch, answers=NEAREST,
        nothing=Problem(table="images", problem="the shop has no images: nothing to predict for"),
    ),
    "forecaster": BatchJob(
        inputs=series_of_shop, predictor=ForecastBatch, answers=FORECASTS,
        nothing=Problem(table="sales", problem="the shop has no series: nothing to forecast"),
    ),
}  # fmt: skip


def predict_to_file(
    job: str, folder: Path, shop: Shop, out: Path, *, limit: int, workers: int, progress: Progress
) -> int:
    """Predictions for the whole shop into `out` (Parquet), which appears when they are complete; returns the rows."""
    wanted = BATCH_JOBS[job]
    blocks = list(wanted.inputs(shop))
    if not blocks:
        raise InputError(wanted.nothing)
    quiet_ray_data()
    predictions = ray.data.from_arrow(blocks).map_batches(
        wanted.predictor,
        fn_constructor_args=(str(folder), limit, str(shop.path.absolute())),
        batch_size=BATCH_USERS,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=0.5,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    progress.stage(f"predicting {job}", sum(len(block) for block in blocks) * limit)
    rows = 0
    try:
        with pq.ParquetWriter(partial, wanted.answers) as writer:
            for batch in predictions.iter_batches(batch_size=None, batch_format="pyarrow"):
                writer.write_table(batch.cast(wanted.answers))
                rows += len(batch)
                progress.advance(len(batch))
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return rows
