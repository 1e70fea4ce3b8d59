"""How often items were wanted before a moment: the ranker's popularity, replayed for any day of the past."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from training.features.ranking import DAY_US, POPULARITY_DAYS, log_popularity
from training.features.sequences import Histories
from training.features.vocabulary import Vocabulary


class PopularityHistory:
    """Interest events per item over the POPULARITY_DAYS whole days before any day.

    Only the day last asked for is kept: ask in order of time.
    """

    def __init__(self, histories: Histories, vocabulary: Vocabulary) -> None:
        order = np.argsort(histories.timestamps_us_N, kind="stable")
        self._days_N: npt.NDArray[np.int64] = histories.timestamps_us_N[order] // DAY_US
        self._codes_N = histories.codes_N[order]
        self._vocabulary = vocabulary
        self._day: int | None = None
        self._popularity: Mapping[str, float] = {}

    def at(self, as_of_us: int) -> Mapping[str, float]:
        """log popularity by item_id, of the days before that of `as_of_us`."""
        day = as_of_us // DAY_US
        if day != self._day:
            first, last = np.searchsorted(self._days_N, (day - POPULARITY_DAYS, day))
            self._day, self._popularity = day, popularity_of(self._codes_N[first:last], self._vocabulary)
        return self._popularity

    def latest(self) -> Mapping[str, float]:
        """That of the day after the last event: what serving starts from."""
        return self.at((int(self._days_N[-1]) + 1) * DAY_US) if len(self._days_N) else {}


def popularity_of(codes_N: npt.NDArray[np.int32], vocabulary: Vocabulary) -> Mapping[str, float]:
    """log popularity by item_id of the items that occur in `codes_N`."""
    counts_I = np.bincount(codes_N, minlength=len(vocabulary))
    return log_popularity({vocabulary.ids[code]: int(counts_I[code]) for code in np.flatnonzero(counts_I)})
