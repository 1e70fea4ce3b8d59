"""How slates and choices are divided into what is trained on, chosen by and judged by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.contracts.errors import InputError, Problem
from training.jobs.past_shop import Moment

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Division:
    """Which part a moment is of, and until when the past is learnt from."""

    part_of: Callable[[Moment], Part]
    trained_until_us: int
    said: str


def by_time(times_us: Sequence[int], validation_share: float, test_share: float) -> Division:
    """What was before a moment, between two, and after; raises InputError where there is nothing."""
    if not times_us:
        raise InputError(
            Problem(table="events", problem="no served log with outcomes and no user with 3 positive events",
                    allowed="a shop with recommendations and events that name them, or with more history")
        )  # fmt: skip
    first_us, second_us = map(int, np.quantile(times_us, [1 - validation_share - test_share, 1 - test_share]))

    def part_of(moment: Moment) -> Part:
        return "train" if moment[1] < first_us else "validation" if moment[1] < second_us else "test"

    return Division(part_of=part_of, trained_until_us=first_us, said="slates are split by time")


def by_turn(validation: Collection[Moment], test: Collection[Moment]) -> Division:
    """Each user's last choice for test and the one before for validation: all that an order without times allows."""

    def part_of(moment: Moment) -> Part:
        return "test" if moment in test else "validation" if moment in validation else "train"

    said = "times are only an order here: each user's last choice is test, the one before validation"
    return Division(part_of=part_of, trained_until_us=2**62, said=said)
