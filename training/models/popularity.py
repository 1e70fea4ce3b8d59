"""The most popular items, whoever asks: the baseline of all baselines and the order of a cold start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from training.features.sequences import Moments, Sequences
from training.features.vocabulary import Codes
from training.metrics import Floats, Ints
from training.models.retriever import Retriever


def training_counts(train: Sequences, items: int) -> Ints:
    """counts_I: in how many tokens of the training sequences each item occurs."""
    depth = np.zeros(len(train.tokens_N) + 1, np.int64)
    np.add.at(depth, train.starts_U, 1)
    np.add.at(depth, train.ends_U, -1)
    return np.bincount(train.tokens_N[np.cumsum(depth[:-1]) > 0], minlength=items)


class Popularity(Retriever):
    """Scores every item by its training interactions."""

    kind = "popularity"

    def __init__(self, counts_I: npt.NDArray[Any]) -> None:
        self.counts_I = counts_I.astype(np.float32)

    @classmethod
    def fit(cls, train: Sequences, items: int) -> Self:
        return cls(training_counts(train, items))

    @property
    def items(self) -> int:
        return len(self.counts_I)

    def score(self, histories: Sequence[Codes], _times_us: Moments = None) -> Floats:
        return np.tile(self.counts_I, (len(histories), 1))

    def similarity(self, code: int) -> Floats:  # noqa: ARG002
        """The popular ones are what it can offer, whatever `code` is."""
        return self.counts_I

    def state(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        return {"counts": self.counts_I}, {}

    @classmethod
    def from_state(cls, arrays: dict[str, npt.NDArray[Any]], settings: dict[str, Any]) -> Self:
        return cls(arrays["counts"], **settings)
