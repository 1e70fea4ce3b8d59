"""Past and later choices, replayed: what was taken among what retrieval finds and what was placed at that moment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.contracts.progress import Progress
from training.contracts.shop import Shop
from training.jobs.divisions import Division, Part
from training.jobs.past_shop import Asked, Moment, PastShop
from training.jobs.slates import CLICK, PURCHASE, Slate

Asking = Literal["past", "validation", "test", "held_out", "last"]
"""Choices to learn from, of validation's and test's time, and each user's last but one and last."""
REPLAYED: dict[Part, Asking] = {"train": "past", "validation": "validation", "test": "test"}
"""What each part is made of where no served log tells what was shown."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How much of a shop's past a ranker learns from and is judged by."""

    newest: int
    choices: int
    held_out: int
    negatives: int
    validation_share: float
    test_share: float
    seed: int


def asked_of(
    past: PastShop, division: Division, shown: Mapping[Part, Sequence[Slate]], sampling: Sampling,
    rng: np.random.Generator,
) -> dict[Asking, list[Asked]]:  # fmt: skip
    """What is replayed beside the slates of a served log, or without any in their place.

    No last choice was trained on or chosen by, and no last but one was trained on.
    """
    logged, held_out = any(shown.values()), past.moments(past.split.validation) | past.moments(past.split.test)
    of_part: dict[Asking, list[Asked]] = {"past": [], "validation": [], "test": []}
    for one in past.taken():
        moment = past.moment(one)
        part = division.part_of(moment)
        if one.moment_us < division.trained_until_us and moment not in held_out:
            of_part["past"].append(one)
        if not logged and part != "train":
            of_part[REPLAYED[part]].append(one)
    trained, chosen_by = outcomes(shown["train"]), outcomes(shown["validation"])
    chosen_by |= {past.moment(one) for one in of_part["validation"]}
    tested = past.moments(past.split.test)
    of_part["last"] = _without(past, past.asked(past.split.test), trained | chosen_by)
    of_part["held_out"] = _without(past, past.asked(past.split.validation), trained | tested)
    most = {name: sampling.choices if name == "past" else sampling.held_out for name in of_part}
    return {name: _sampled(of, most[name], rng) for name, of in of_part.items()}


def outcomes(slates: Sequence[Slate]) -> set[Moment]:
    """The moments of what followed them."""
    return {(slate.user_id, moment_us) for slate in slates for moment_us in slate.outcomes_us}


def _without(past: PastShop, asked: Sequence[Asked], moments: Collection[Moment]) -> list[Asked]:
    return [one for one in asked if past.moment(one) not in moments]


def replayed(
    past: PastShop, asked: Mapping[Asking, Sequence[Asked]], head: int, negatives: int, rng: np.random.Generator,
    progress: Progress,
) -> dict[Asking, list[Slate]]:  # fmt: skip
    progress.stage("what was chosen among retrieval's candidates", sum(map(len, asked.values())))
    return {
        name: past.choices(of, head, negatives=negatives if name == "past" else None, rng=rng, progress=progress)
        for name, of in asked.items()
    }


def head_of(shop: Shop, logged: bool) -> int:
    """What a choice is an outcome of."""
    return PURCHASE if not logged and shop.info.positive_types == ("purchase",) else CLICK


def replay_notes(
    slates: int, asked: Mapping[Asking, Sequence[Asked]], found: Mapping[Asking, Sequence[Slate]]
) -> tuple[str, ...]:
    """Of a shop with or, where `slates` is 0, without a served log."""
    names: dict[Asking, str] = {"past": "past", "held_out": "users' last but one", "last": "users' last"}
    counts = ", ".join(f"{len(found[key])} of {len(asked[key])} {name}" for key, name in names.items())
    said = f"retrieval or a placement had {counts} choices"
    if slates:
        return (
            f"{slates} slates of the served log; {said}",
            "retrieval's score is read by the order alone: the retriever has seen what was clicked in these slates",
        )
    return (
        "no served log: negatives are the products placed in that store and week and retrieval's top 100; " + said,
        "what neither retrieval nor a placement had could not have been shown and is left out",
        "retrieval's score is read by the order alone: the retriever has seen all but each user's last two choices",
    )


def _sampled(asked: Sequence[Asked], most: int, rng: np.random.Generator) -> list[Asked]:
    kept = np.sort(rng.permutation(len(asked))[:most])
    return sorted((asked[place] for place in kept), key=lambda one: one.moment_us)
