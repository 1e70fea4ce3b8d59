"""What orders candidates: one interface over the rankers that a bundle can hold."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from training.contracts.errors import InputError, Problem, nearest
from training.features.ranking import RankingInputs

RANKER_FILE = "ranker.json"
Probabilities = npt.NDArray[np.float64]


class Ranker(Protocol):
    """P(action) of candidates, by head; a row depends neither on the other candidates nor on the batch (1e-5).

    The last head is the one that orders.
    """

    @property
    def heads(self) -> tuple[str, ...]: ...

    def predict(self, inputs: Sequence[RankingInputs]) -> list[Probabilities]:
        """probabilities_CH of each request, all in one pass of the model."""

    def order(self, probabilities_CH: Probabilities) -> Probabilities:
        """scores_C, 0 or more: what candidates are ordered and served by."""


RANKERS = {
    "logistic_regression": "training.models.feature_ranker:FeatureRanker",
    "din": "training.models.deep_ranker:DeepRanker",
    "wide_and_deep": "training.models.deep_ranker:DeepRanker",
    "mean_pooling": "training.models.deep_ranker:DeepRanker",
}
"""The closed registry, by `kind` in RANKER_FILE: classes with `load(folder)`, imported when first asked for."""


def load_ranker(folder: Path) -> Ranker:
    """The ranker of a bundle; raises InputError where this version cannot compute what it was fitted on."""
    kind = str(json.loads((folder / RANKER_FILE).read_text(encoding="utf-8")).get("kind"))
    if kind not in RANKERS:
        raise InputError(
            Problem(
                file=str(folder / RANKER_FILE), field="kind", problem="no such ranker", found=kind,
                allowed=", ".join(RANKERS), nearest=nearest(kind, RANKERS),
            )
        )  # fmt: skip
    module, name = RANKERS[kind].split(":")
    ranker: Ranker = getattr(importlib.import_module(module), name).load(folder)
    return ranker
