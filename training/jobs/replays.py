"""Past and later choices, replayed: what was taken among what retrieval finds and what was placed at that moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.contracts.progress import Progress
from training.contracts.shop import Shop
from training.jobs.divisions import Division, Part
from training.jobs.past_shop import Asked, PastShop
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
    past: PastShop, division: Division, logged: bool, sampling: Sampling, rng: np.random.Generator
) -> dict[Asking, list[Asked]]:
    """What is replayed; nothing that is trained on or chosen by is anybody's last choice."""
    tested = past.moments(past.split.test)
    held_out = tested | past.moments(past.split.validation)
    of_part: dict[Asking, list[Asked]] = {
        "past": [], "validation": [], "test": [], "last": past.asked(past.split.test),
        "held_out": [one for one in past.asked(past.split.validation) if past.moment(one) not in tested],
    }  # fmt: skip
    for one in past.taken():
        moment = past.moment(one)
        part = division.part_of(moment)
        if one.moment_us < division.trained_until_us and moment not in held_out:
            of_part["past"].append(one)
        if not logged and (part == "test" or (part == "validation" and moment not in tested)):
            of_part[REPLAYED[part]].append(one)
    most = {name: sampling.choices if name == "past" else sampling.held_out for name in of_part}
    return {name: _sampled(of, most[name], rng) for name, of in of_part.items()}


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
