"""The ranker's popularity of a past day: what was wanted in the days before it, one day in memory."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np

from training.features.popularity import PopularityHistory
from training.features.ranking import DAY_US, POPULARITY_DAYS
from training.features.sequences import Histories
from training.features.vocabulary import Vocabulary

ITEMS = 500


def history(days_N: np.ndarray, codes_N: np.ndarray) -> PopularityHistory:
    histories = Histories(
        user_ids=["u"],
        offsets_U=np.array([0, len(days_N)]),
        codes_N=codes_N.astype(np.int32),
        timestamps_us_N=days_N * DAY_US,
        positive_N=np.ones(len(days_N), np.bool_),
    )
    return PopularityHistory(histories, Vocabulary([f"i{code}" for code in range(ITEMS)]))


def test_a_day_sees_the_days_before_it_alone() -> None:
    popularity = history(np.array([100, 101, 101, 102]), np.array([1, 1, 2, 3]))
    first, second = Vocabulary([f"i{code}" for code in range(ITEMS)]).ids[1:3]
    assert popularity.at(102 * DAY_US + 5) == {first: math.log1p(2), second: math.log1p(1)}
    assert popularity.at(101 * DAY_US) == {first: math.log1p(1)}
    assert len(popularity.at((101 + POPULARITY_DAYS) * DAY_US)) == 3
    assert popularity.latest() == popularity.at(103 * DAY_US)


def test_a_year_of_days_takes_the_memory_of_one() -> None:
    days_N = np.repeat(np.arange(200), ITEMS)
    popularity = history(days_N, np.tile(np.arange(ITEMS), 200))
    tracemalloc.start()
    for day in range(1, 200):
        assert len(popularity.at(day * DAY_US)) == ITEMS
    kept_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept_bytes < 1e6
