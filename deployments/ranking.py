"""Ranking: the one score of each candidate, from the shared features and the live catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deployments.companions import RECOMMENDER
from deployments.live import LiveShop
from deployments.messages import Ranked, RankingQuery
from training.bundles.manifest import Manifest
from training.contracts.errors import InputError, Problem
from training.features.profile import Profile
from training.features.ranking import FEATURE_NAMES, RankingInputs, RankingState, ranking_inputs
from training.models.logistic_ranker import LogisticRanker

RANKER_FILE = "ranking.json"
STATE_FILE = "ranking_state.json"


class OwnRanker:
    """The logistic ranker of a recommender bundle, asked like any other."""

    def __init__(self, logistic: LogisticRanker) -> None:
        self.logistic = logistic

    def predict(self, inputs: Sequence[RankingInputs]) -> list[npt.NDArray[np.float64]]:
        return [self.logistic.predict(one.features_CF)[:, None] for one in inputs]

    def order(self, probabilities_CH: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return probabilities_CH[:, 0]


class Ranking:
    """One bundle's ranker: that of a ranker bundle, or the simple one inside a recommender's."""

    def __init__(self, ranker: OwnRanker, state: RankingState, live: LiveShop) -> None:
        self.ranker, self.state, self.live = ranker, state, live

    @classmethod
    def load(cls, folder: Path, manifest: Manifest, live: LiveShop) -> Ranking:
        """Warmed up; raises InputError where the ranker was fitted on other features than this code computes."""
        if manifest.job != RECOMMENDER:
            raise InputError(Problem(field="job", problem="this version cannot rank with it", found=manifest.job))
        ranker = OwnRanker(LogisticRanker.load(folder / RANKER_FILE, expect=FEATURE_NAMES))
        ranking = cls(ranker, RankingState.load(folder / STATE_FILE), live)
        ranking.answer([RankingQuery(manifest.version, Profile(""), ["?"], np.zeros(1, np.float32), 0)])
        return ranking

    def follow(self) -> None:
        """Nothing to bring up to date: the facts are read from the live catalogue."""

    def answer(self, queries: Sequence[RankingQuery]) -> list[Ranked]:
        """All queries share one pass of the model."""
        age_ms = self.live.age_ms()
        inputs = [self._inputs(query) for query in queries]
        predicted = self.ranker.predict(inputs)
        return [
            Ranked(query.version, self.ranker.order(probabilities_CH), one, age_ms)
            for query, one, probabilities_CH in zip(queries, inputs, predicted, strict=True)
        ]

    def _inputs(self, query: RankingQuery) -> RankingInputs:
        return ranking_inputs(
            profile=query.profile,
            item_ids=query.item_ids,
            retrieval_scores_C=query.scores_C,
            items=self.live.facts,
            state=self.state,
            as_of_us=query.as_of_us,
            request=query.request,
        )
