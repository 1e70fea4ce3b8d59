"""Logistic regressions as a Ranker: one for the order and, where there are any, one per head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from training.contracts.atomic import write_bytes
from training.features.ranking import FEATURE_NAMES, RankingInputs
from training.models.logistic_ranker import LogisticRanker
from training.models.ranker import RANKER_FILE, Probabilities

KIND = "logistic_regression"
ORDER = "action"


class _Saved(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = KIND
    logistic: LogisticRanker
    heads: dict[str, LogisticRanker] = {}


class FeatureRanker:
    """The baseline of every ranker, and what a recommender's bundle ranks with; `order` is the last of its heads."""

    def __init__(self, order: LogisticRanker, heads: Mapping[str, LogisticRanker] | None = None) -> None:
        self.by_head = {**(heads or {}), ORDER: order}
        self.heads = tuple(self.by_head)

    def predict(self, inputs: Sequence[RankingInputs]) -> list[Probabilities]:
        return [np.stack([head.predict(one.features_CF) for head in self.by_head.values()], 1) for one in inputs]

    def order(self, probabilities_CH: Probabilities) -> Probabilities:
        return probabilities_CH[:, -1]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        heads = {name: head for name, head in self.by_head.items() if name != ORDER}
        saved = _Saved(logistic=self.by_head[ORDER], heads=heads)
        write_bytes(folder / RANKER_FILE, saved.model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> FeatureRanker:
        """Raises InputError where it was fitted on others than the first features that this code computes."""
        saved = _Saved.model_validate_json((folder / RANKER_FILE).read_bytes())
        for one in (saved.logistic, *saved.heads.values()):
            one.refuse_other_features(FEATURE_NAMES, place=folder / RANKER_FILE)
        return cls(saved.logistic, saved.heads)
