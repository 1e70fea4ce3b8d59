"""What the ranker knows of each candidate: one function, called by training, by serving and by the parity test."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.features.item_facts import NO_FACTS, ItemFacts, item_facts
from training.features.profile import Profile
from training.features.ranking_state import CODE_NAMES, RankingState, fit_price_edges, log_popularity
from training.features.short_term import (
    CONTEXT_NAMES,
    DAY_US,
    RECENT_NAMES,
    RequestFacts,
    Touch,
    context_row,
    recent_arrays,
    recent_touches,
    session_touches,
)

__all__ = [
    "BASE_FEATURES", "CODE_NAMES", "CONTEXT_NAMES", "DAY_US", "FEATURE_NAMES", "NO_FACTS", "POPULARITY_DAYS",
    "RECENT_NAMES", "ItemFacts", "RankingInputs", "RankingState", "RequestFacts", "fit_price_edges", "item_facts",
    "log_popularity", "ranking_features", "ranking_inputs", "trait_cosines",
]  # fmt: skip

RECENT_VIEWS = 10
POPULARITY_DAYS = 28
BASE_FEATURES = (
    "retrieval_score",
    "popularity",
    "seen_recency",
    "user_recency",
    "price_band",
    "price_gap",
    "category_affinity",
    "root_affinity",
    "brand_affinity",
    "item_age",
)
"""What the logistic ranker of a recommender bundle reads."""
TRAIT_FEATURES = ("trait_affinity", "trait_session", "trait_last")
FEATURE_NAMES = (
    *BASE_FEATURES,
    "seen_count",
    "bought_days",
    "bought",
    "leaf_recency",
    "leaf_last",
    "leaf_session",
    "brand_session",
    "price_gap_session",
    *TRAIT_FEATURES,
)
FIRST_TRAIT = CODE_NAMES.index("trait_0")

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]


class RankingInputs(NamedTuple):
    """All that the ranker reads for one user's C candidates; each row is independent of the other candidates.

    features_CF float32 of FEATURE_NAMES, codes_CK int32 of CODE_NAMES; of the last R touched items, newest last,
    recent_RF float32 of RECENT_NAMES and recent_RK int32 of CODE_NAMES; context_U float32 of CONTEXT_NAMES.
    """

    features_CF: Floats
    codes_CK: Codes
    recent_RF: Floats
    recent_RK: Codes
    context_U: Floats


def ranking_inputs(
    *,
    profile: Profile,
    item_ids: Sequence[str],
    retrieval_scores_C: Floats,
    items: Mapping[str, ItemFacts],
    state: RankingState,
    as_of_us: int,
    request: RequestFacts = RequestFacts(),
    popularity: Mapping[str, float] | None = None,
) -> RankingInputs:
    """What the ranker reads of C candidates for one user at `as_of_us`.

    `popularity` replaces the state's own where a moment inside the training window is replayed.
    """
    facts = [items.get(item_id, NO_FACTS) for item_id in item_ids]
    touches = recent_touches(profile, items)
    codes = [state.codes(item_id, fact) for item_id, fact in zip(item_ids, facts, strict=True)]
    codes_CK = np.asarray(codes, np.int32).reshape(len(item_ids), len(CODE_NAMES))
    recent_RF, recent_RK = recent_arrays(touches, state, as_of_us)
    taste = _Taste(profile, touches, items, state, as_of_us)
    known = state.popularity if popularity is None else popularity
    rows = [taste.row(item_id, fact, known) for item_id, fact in zip(item_ids, facts, strict=True)]
    features_CF = np.empty((len(item_ids), len(FEATURE_NAMES)), np.float32)
    features_CF[:, 0] = retrieval_scores_C
    if rows:
        features_CF[:, 1 : -len(TRAIT_FEATURES)] = np.asarray(rows, np.float64)
        features_CF[:, -len(TRAIT_FEATURES) :] = _trait_features(codes_CK, recent_RF, recent_RK)
    context_U = context_row(profile, touches, items, state, as_of_us, request)
    return RankingInputs(features_CF, codes_CK, recent_RF, recent_RK, context_U)


def ranking_features(
    *,
    profile: Profile,
    item_ids: Sequence[str],
    retrieval_scores_C: Floats,
    items: Mapping[str, ItemFacts],
    state: RankingState,
    as_of_us: int,
    popularity: Mapping[str, float] | None = None,
) -> Floats:
    """features_CF of `ranking_inputs`."""
    return ranking_inputs(
        profile=profile, item_ids=item_ids, retrieval_scores_C=retrieval_scores_C, items=items, state=state,
        as_of_us=as_of_us, popularity=popularity,
    ).features_CF  # fmt: skip


class _Taste:
    """The user's side of the features: what the last RECENT_VIEWS interest events, and the session, have in common."""

    def __init__(
        self,
        profile: Profile,
        touches: Sequence[Touch],
        items: Mapping[str, ItemFacts],
        state: RankingState,
        as_of_us: int,
    ) -> None:
        recent = [items.get(item_id, NO_FACTS) for item_id in profile.item_ids[-RECENT_VIEWS:]]
        self.state, self.as_of_us, self.count = state, as_of_us, max(len(recent), 1)
        self.leaves = Counter(facts.leaf for facts in recent if facts.leaf)
        self.roots = Counter(facts.root for facts in recent if facts.root)
        self.brands = Counter(facts.brand for facts in recent if facts.brand)
        self.mean_band = self._mean_band(recent)
        self.last_seen_us = dict(zip(profile.item_ids, profile.timestamps_us, strict=True))
        self.user_recency = self.freshness(profile.newest_us)
        self.seen = Counter(profile.item_ids)
        moments = zip(profile.item_ids, profile.kinds, profile.timestamps_us, strict=True)
        self.bought_us = {item_id: moment_us for item_id, kind, moment_us in moments if kind == "purchase"}
        session = [touch.facts for touch in session_touches(touches, state, as_of_us)]
        self.session_count = max(len(session), 1)
        self.session_leaves = Counter(facts.leaf for facts in session if facts.leaf)
        self.session_brands = Counter(facts.brand for facts in session if facts.brand)
        self.session_band = self._mean_band(session)
        self.leaf_seen_us = {touch.facts.leaf: touch.newest_us for touch in touches if touch.facts.leaf}
        self.last_leaf = touches[-1].facts.leaf if touches else ""

    def freshness(self, moment_us: int | None) -> float:
        """1 now, 1/2 a day ago, 0 never; constant where time is only an order."""
        if moment_us is None:
            return 0.0
        return 1.0 if self.state.ordinal_time else 1.0 / (1.0 + self._days(moment_us))

    def row(self, item_id: str, facts: ItemFacts, popularity: Mapping[str, float]) -> tuple[float, ...]:
        band, timed = self.state.band(facts), not self.state.ordinal_time
        bought_us = self.bought_us.get(item_id)
        return (
            popularity.get(item_id, 0.0),
            self.freshness(self.last_seen_us.get(item_id)),
            self.user_recency,
            0.5 if band is None else band,
            0.0 if band is None or self.mean_band is None else abs(band - self.mean_band),
            self.leaves[facts.leaf] / self.count,
            self.roots[facts.root] / self.count,
            self.brands[facts.brand] / self.count,
            math.log1p(self._days(facts.created_us)) if timed and not math.isnan(facts.created_us) else 0.0,
            math.log1p(self.seen[item_id]),
            math.log1p(self._days(bought_us)) if timed and bought_us is not None else 0.0,
            float(bought_us is not None),
            self.freshness(self.leaf_seen_us.get(facts.leaf)),
            float(facts.leaf != "" and facts.leaf == self.last_leaf),
            self.session_leaves[facts.leaf] / self.session_count,
            self.session_brands[facts.brand] / self.session_count,
            0.0 if band is None or self.session_band is None else abs(band - self.session_band),
        )

    def _days(self, moment_us: float) -> float:
        return max(self.as_of_us - moment_us, 0.0) / DAY_US

    def _mean_band(self, of: Sequence[ItemFacts]) -> float | None:
        bands = [band for band in map(self.state.band, of) if band is not None]
        return sum(bands) / len(bands) if bands else None


def _trait_features(codes_CK: Codes, recent_RF: Floats, recent_RK: Codes) -> npt.NDArray[np.float64]:
    """TRAIT_FEATURES [C, 3]: the mean cosine of a candidate's traits to those touched of late, in the session, last."""
    cosines_CR = trait_cosines(codes_CK[:, FIRST_TRAIT:], recent_RK[:, FIRST_TRAIT:])
    session_R = recent_RF[:, RECENT_NAMES.index("in_session")].astype(np.float64)
    touched = max(int(recent_RF[:, RECENT_NAMES.index("present")].sum()), 1)
    features_C3 = np.empty((len(codes_CK), len(TRAIT_FEATURES)), np.float64)
    features_C3[:, 0] = cosines_CR.sum(axis=1) / touched
    features_C3[:, 1] = (cosines_CR * session_R).sum(axis=1) / max(float(session_R.sum()), 1.0)
    features_C3[:, 2] = cosines_CR[:, -1]
    return features_C3


def trait_cosines(traits_CT: Codes, traits_RT: Codes) -> npt.NDArray[np.float64]:
    """Shared traits over the root of the product of both counts, [C, R]; 0 where an item has none."""
    same_CRTT = (traits_CT[:, None, :, None] == traits_RT[None, :, None, :]) & (traits_CT > 0)[:, None, :, None]
    shared_CR = same_CRTT.sum(axis=(2, 3)).astype(np.float64)
    counts_CR = (traits_CT > 0).sum(axis=1)[:, None] * (traits_RT > 0).sum(axis=1)[None, :]
    return np.asarray(shared_CR / np.sqrt(np.maximum(counts_CR, 1)))
