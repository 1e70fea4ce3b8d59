"""Ranking: the one score of each candidate, from the shared features and the live catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deployments.companions import RECOMMENDER
from deployments.live import LiveShop
from deployments.messages import Ranked, RankingQuery
from training.bundles.manifest import Manifest
from training.features.profile import Profile
from training.features.ranking import FEATURE_NAMES, RankingInputs, RankingState, ranking_inputs
from training.models.feature_ranker import FeatureRanker
from training.models.logistic_ranker import LogisticRanker
from training.models.ranker import Ranker, load_ranker

OWN_RANKER_FILE = "ranking.json"
STATE_FILE = "ranking_state.json"


class Ranking:
    """One bundle's ranker: that of a ranker bundle, or the simple one inside a recommender's."""

    def __init__(self, ranker: Ranker, state: RankingState, live: LiveShop) -> None:
        self.ranker, self.state, self.live = ranker, state, live

    @classmethod
    def load(cls, folder: Path, manifest: Manifest, live: LiveShop) -> Ranking:
        """Warmed up; raises InputError where the ranker was fitted on other features than this code computes."""
        ranker = _own_ranker(folder) if manifest.job == RECOMMENDER else load_ranker(folder)
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
            Ranked(
                query.version, self.ranker.order(probabilities_CH), one, self.ranker.heads[:-1],
                probabilities_CH[:, :-1], age_ms,
            )
            for query, one, probabilities_CH in zip(queries, inputs, predicted, strict=True)
        ]  # fmt: skip

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


def _own_ranker(folder: Path) -> Ranker:
    """The one that a recommender's bundle holds."""
    return FeatureRanker(LogisticRanker.load(folder / OWN_RANKER_FILE, expect=FEATURE_NAMES))
