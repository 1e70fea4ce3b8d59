"""Logistic regression as a Ranker: one head, over the features of the candidates alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from training.contracts.atomic import write_bytes
from training.features.ranking import FEATURE_NAMES, RankingInputs
from training.models.logistic_ranker import LogisticRanker
from training.models.ranker import RANKER_FILE, Probabilities

KIND = "logistic_regression"


class _Saved(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = KIND
    logistic: LogisticRanker


@dataclass(frozen=True)
class FeatureRanker:
    """The baseline of every ranker, and what a recommender's bundle ranks with."""

    logistic: LogisticRanker
    heads: tuple[str, ...] = ("action",)

    def predict(self, inputs: Sequence[RankingInputs]) -> list[Probabilities]:
        return [self.logistic.predict(one.features_CF)[:, None] for one in inputs]

    def order(self, probabilities_CH: Probabilities) -> Probabilities:
        return probabilities_CH[:, 0]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / RANKER_FILE, _Saved(logistic=self.logistic).model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> FeatureRanker:
        """Raises InputError where it was fitted on others than the first features that this code computes."""
        saved = _Saved.model_validate_json((folder / RANKER_FILE).read_bytes())
        saved.logistic.refuse_other_features(FEATURE_NAMES, place=folder / RANKER_FILE)
        return cls(saved.logistic)
