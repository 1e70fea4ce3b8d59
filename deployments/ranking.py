"""Ranking: P(action) of each candidate from the shared features and the live catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deployments.live import LiveShop
from deployments.messages import Ranked, RankingQuery
from training.bundles.manifest import Manifest
from training.features.ranking import FEATURE_NAMES, RankingState, ranking_features
from training.models.logistic_ranker import LogisticRanker

RANKER_FILE = "ranking.json"
STATE_FILE = "ranking_state.json"


class Ranking:
    """One bundle's ranker."""

    def __init__(self, ranker: LogisticRanker, state: RankingState, live: LiveShop) -> None:
        self.ranker, self.state, self.live = ranker, state, live

    @classmethod
    def load(cls, folder: Path, manifest: Manifest, live: LiveShop) -> Ranking:
        """Raises InputError where the ranker was fitted on other features than this code computes."""
        del manifest
        ranker = LogisticRanker.load(folder / RANKER_FILE, expect=FEATURE_NAMES)
        return cls(ranker, RankingState.load(folder / STATE_FILE), live)

    def follow(self) -> None:
        """Nothing to bring up to date: the facts are read from the live catalogue."""

    def answer(self, queries: Sequence[RankingQuery]) -> list[Ranked]:
        return [self._rank(query) for query in queries]

    def _rank(self, query: RankingQuery) -> Ranked:
        age_ms = self.live.age_ms()
        features_CF = ranking_features(
            profile=query.profile,
            item_ids=query.item_ids,
            retrieval_scores_C=query.scores_C,
            items=self.live.facts,
            state=self.state,
            as_of_us=query.as_of_us,
        )
        return Ranked(query.version, self.ranker.predict(features_CF), features_CF, age_ms)
