"""A shop as the ranker sees it: slates and choices with their inputs as of their moments, split by time.

The retriever has seen all but each user's last two positives, so its scores on slates tell the outcome (on the sample
.69 AUC where an unseen one has .64): the network never reads them, and they enter the order by held-out choices only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from training.contracts.errors import InputError, Problem
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop
from training.features.ranking import RankingState
from training.features.sequences import Cases
from training.jobs.past_shop import Asked, PastShop
from training.jobs.ranker_examples import Examples
from training.jobs.slates import HEADS, PURCHASE, Slate, served_slates

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
Moment = tuple[str, int]
"""A user and a time: what one choice is known by."""


@dataclass(frozen=True, kw_only=True)
class RankerData:
    """Slates (impressions, or choices where the shop has no served log) by part, and choices.

    `test_choices` are the users' last positives whose item retrieval found, `test_asked` counts them all.
    """

    shop: Shop
    state: RankingState
    slates: dict[Part, Examples]
    choices: dict[Literal["train", "validation"], Examples]
    test_choices: Examples
    test_asked: int
    heads: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Division:
    """What is trained on, chosen by and judged by: which part a slate is of, and until when the past is learnt from."""

    part_of: Callable[[Slate], Part]
    trained_until_us: int
    said: str


def by_time(first_us: int, second_us: int) -> Division:
    """Everybody's slates before a moment, between two, and after."""

    def part_of(slate: Slate) -> Part:
        return "train" if slate.as_of_us < first_us else "validation" if slate.as_of_us < second_us else "test"

    return Division(part_of=part_of, trained_until_us=first_us, said="slates are split by time")


def by_turn(validation: Collection[Moment], test: Collection[Moment]) -> Division:
    """Each user's last choice for test and the one before for validation: all that an order without times allows."""

    def part_of(slate: Slate) -> Part:
        moment = (slate.user_id, slate.as_of_us)
        return "test" if moment in test else "validation" if moment in validation else "train"

    said = "times are only an order here: each user's last choice is test, the one before validation"
    return Division(part_of=part_of, trained_until_us=2**62, said=said)


def load_ranker_data(
    shop: Shop, folder: Path, *, newest: int, choices: int, negatives: int, validation_share: float,
    test_share: float, seed: int, state: RankingState | None = None, progress: Progress = NoProgress(),
) -> RankerData:  # fmt: skip
    """`state` is what a trained ranker's features have learnt; without one they learn here.

    Raises InputError for a shop that has neither a served log with outcomes nor positives to replay.
    """
    rng = np.random.default_rng(seed)
    past, slates = PastShop(shop, folder), served_slates(shop, newest=newest)
    logged = any(slate.labels_CH.any() for slate in slates)
    head = 0 if logged else PURCHASE if shop.info.positive_types == ("purchase",) else 0
    cases = {"validation": _asked(past.split.validation), "test": _asked(past.split.test)}
    held_out = _sampled([*cases["validation"], *cases["test"]], choices, rng)
    users = past.histories.user_ids
    moments = {part: {(users[one.user], one.moment_us) for one in asked} for part, asked in cases.items()}
    if shop.info.ordinal_time and not logged:
        division = by_turn(moments["validation"], moments["test"])
    else:
        times_us = [slate.as_of_us for slate in slates] if logged else [one.moment_us for one in held_out]
        division = by_time(*_cuts(times_us, validation_share, test_share))
    if state is not None:
        past.state = state
    elif not shop.info.ordinal_time:
        past.state = past.state_until(division.trained_until_us)
    trained = _sampled(past.past_choices(division.trained_until_us), choices, rng)
    tested = _sampled(cases["test"], choices, rng)
    progress.stage("what was chosen among retrieval's candidates", len(trained) + len(held_out) + len(tested))
    past_slates = past.choices(trained, head, negatives=negatives, rng=rng, progress=progress)
    held_slates = past.choices(held_out, head, negatives=None, rng=rng, progress=progress)
    test_slates = past.choices(tested, head, negatives=None, rng=rng, progress=progress)
    slates = [slate for slate in slates if division.part_of(slate) == "test" or not _tells(slate, moments["test"])]
    progress.stage("ranking features", len(slates) + len(past_slates) + len(held_slates) + len(test_slates))
    shown = past.examples(slates if logged else [*past_slates, *held_slates], progress)
    chosen = past.examples(past_slates, progress)
    held = past.examples(held_slates, progress)
    parts = [division.part_of(slate) for slate in shown.slates]
    data = RankerData(
        shop=shop,
        state=past.state,
        slates={name: shown.take([part == name for part in parts]) for name in PARTS},
        choices={
            "train": chosen,
            # Neither the retriever nor a network was trained on one of these, and none is a test.
            "validation": held.take([(slate.user_id, slate.as_of_us) not in moments["test"] for slate in held.slates]),
        },
        test_choices=past.examples(test_slates, progress),
        test_asked=len(tested),
        heads=(),
        notes=(
            *_notes(logged, slates, past_slates, len(trained), held_slates, len(held_out)),
            division.said,
        ),
    )
    return _with_heads(data)


def _cuts(times_us: Sequence[int], validation_share: float, test_share: float) -> tuple[int, int]:
    if not times_us:
        raise InputError(
            Problem(table="events", problem="no served log with outcomes and no user with 3 positive events",
                    allowed="a shop with recommendations and events that name them, or with more history")
        )  # fmt: skip
    first_us, second_us = np.quantile(times_us, [1 - validation_share - test_share, 1 - test_share])
    return int(first_us), int(second_us)


def _tells(slate: Slate, tested: Collection[Moment]) -> bool:
    """Whether the slate's outcome is a test choice."""
    return any((slate.user_id, moment_us) in tested for moment_us in slate.outcomes_us)


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


def _asked(cases: Cases) -> list[Asked]:
    return [
        Asked(user=int(user), moment_us=int(moment_us), codes=(int(target),))
        for user, moment_us, target in zip(cases.users_U, cases.times_us_U, cases.targets_U, strict=True)
    ]


def _sampled(asked: Sequence[Asked], most: int, rng: np.random.Generator) -> list[Asked]:
    kept = np.sort(rng.permutation(len(asked))[:most])
    return sorted((asked[place] for place in kept), key=lambda one: one.moment_us)


def _notes(
    logged: bool, slates: Sequence[Slate], past: Sequence[Slate], asked: int, held: Sequence[Slate], held_asked: int
) -> tuple[str, ...]:
    found = f"retrieval or a placement had {len(past)} of {asked} past and {len(held)} of {held_asked} held-out choices"
    if logged:
        return (
            f"{len(slates)} slates of the served log; {found}",
            "retrieval's score is read by the order alone: the retriever has seen what was clicked in these slates",
        )
    return (
        "no served log: negatives are the products placed in that store and week and retrieval's top 100; " + found,
        "what neither retrieval nor a placement had could not have been shown and is left out",
    )
