"""A shop as the ranker sees it: slates and choices with their inputs as of their moments, split by time.

The retriever has seen all but each user's last two positives, so its scores on slates tell the outcome (on the sample
.69 AUC where an unseen one has .64): the network never reads them, and they enter the order by held-out choices only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from training.contracts.errors import InputError, Problem
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop
from training.features.ranking import RankingState
from training.jobs.divisions import PARTS, Division, Part, by_time, by_turn
from training.jobs.past_shop import PastShop
from training.jobs.ranker_examples import Examples
from training.jobs.replays import REPLAYED, Sampling, asked_of, head_of, replay_notes, replayed
from training.jobs.slates import HEADS, Slate, served_slates


@dataclass(frozen=True, kw_only=True)
class RankerData:
    """Slates (impressions, or choices where the shop has no served log) by part, and choices.

    `test_choices` are users' last positives, those neither trained on nor chosen by, whose item retrieval found;
    `test_asked` counts those that it did not find too.
    `item_vectors` are of the state's items, from what people touched before validation.
    """

    shop: Shop
    state: RankingState
    slates: dict[Part, Examples]
    choices: dict[Literal["train", "validation"], Examples]
    test_choices: Examples
    test_asked: int
    item_vectors: npt.NDArray[np.float64]
    heads: tuple[str, ...]
    notes: tuple[str, ...]


def load_ranker_data(
    shop: Shop, folder: Path, sampling: Sampling, *, state: RankingState | None = None,
    progress: Progress = NoProgress(),
) -> RankerData:  # fmt: skip
    """`state` is what a trained ranker's features have learnt; without one they learn here.

    Raises InputError for a shop that has neither a served log with outcomes nor positives to replay.
    """
    past, slates = PastShop(shop, folder), served_slates(shop, newest=sampling.newest)
    if not any(slate.labels_CH.any() for slate in slates):
        slates = []
    division = _divided(past, slates, sampling)
    past.state = state or _state_of(past, division)
    served = {part: [one for one in slates if division.part_of((one.user_id, one.as_of_us)) == part] for part in PARTS}
    rng = np.random.default_rng(sampling.seed)
    asked = asked_of(past, division, served, sampling, rng)
    found = replayed(past, asked, head_of(shop, bool(slates)), sampling.negatives, rng, progress)
    progress.stage("ranking features", len(slates) + sum(map(len, found.values())))
    chosen = {name: past.examples(of, progress) for name, of in found.items()}
    shown = {part: past.examples(served[part], progress) if slates else chosen[REPLAYED[part]] for part in PARTS}
    data = RankerData(
        shop=shop,
        state=past.state,
        slates=shown,
        choices={"train": chosen["past"], "validation": chosen["held_out"]},
        test_choices=chosen["last"],
        test_asked=len(asked["last"]),
        item_vectors=past.item_vectors(division.trained_until_us),
        heads=(),
        notes=(*replay_notes(len(slates), asked, found), division.said),
    )
    return _with_heads(data)


def _divided(past: PastShop, slates: Sequence[Slate], sampling: Sampling) -> Division:
    """Without `slates` of a served log choices are divided: by turn where times are only an order, else by time."""
    if slates:
        return by_time([slate.as_of_us for slate in slates], sampling.validation_share, sampling.test_share)
    if past.shop.info.ordinal_time:
        return by_turn(past.moments(past.split.validation), past.moments(past.split.test))
    times_us = [one.moment_us for one in past.taken()]
    return by_time(times_us, sampling.validation_share / 2, sampling.test_share / 2)


def _state_of(past: PastShop, division: Division) -> RankingState:
    ordinal = past.shop.info.ordinal_time
    return past.state_of_training() if ordinal else past.state_until(division.trained_until_us)


def _with_heads(data: RankerData) -> RankerData:
    """Heads have positives to learn from, to calibrate on and to be judged by; what has none is said."""
    parts = [examples for examples in data.slates.values() if len(examples)]
    if len(parts) < len(data.slates) or not len(data.choices["train"]) or not len(data.choices["validation"]):
        raise InputError(
            Problem(table="events", problem="too few outcomes to learn a ranking, choose it and judge it",
                    allowed="some hundred slates or choices, spread over time")
        )  # fmt: skip
    present_H = np.all([examples.labels_NH.any(axis=0) for examples in parts], axis=0)
    heads = tuple(head for head, present in zip(HEADS, present_H, strict=True) if present)
    # Choices alone know one kind of outcome: the head of what was taken.
    if all((examples.labels_NH[:, 0] == examples.labels_NH[:, -1]).all() for examples in parts):
        heads = heads[-1:]
    absent = [head for head in HEADS if head not in heads]
    notes = (*data.notes, *([f"no head for {' and '.join(absent)}: no outcomes of their own"] if absent else []))
    return replace(data, heads=heads, notes=notes)
