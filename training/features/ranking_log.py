"""Ranking inputs as rows of float32 for the served log, and back, to the bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.features.ranking import CODE_NAMES, CONTEXT_NAMES, FEATURE_NAMES, RECENT_NAMES, Floats, RankingInputs
from training.features.short_term import RECENT_ITEMS

CANDIDATE_LOG_NAMES = (*FEATURE_NAMES, *(f"code_{name}" for name in CODE_NAMES))
"""The columns of `candidate_log`: what differs between candidates. Codes are below 2^24, exact in float32."""
CONTEXT_LOG_NAMES = (
    *(f"recent_{place}_{name}" for place in range(RECENT_ITEMS) for name in RECENT_NAMES),
    *(f"recent_{place}_code_{name}" for place in range(RECENT_ITEMS) for name in CODE_NAMES),
    *CONTEXT_NAMES,
)
"""The columns of `context_log`: what all candidates of a request share."""


def candidate_log(inputs: RankingInputs, candidates: Sequence[int]) -> Floats:
    """The rows of these candidates, [n, len(CANDIDATE_LOG_NAMES)]."""
    chosen = np.asarray(candidates, np.int64)
    return np.concatenate([inputs.features_CF[chosen], inputs.codes_CK[chosen].astype(np.float32)], axis=1)


def context_log(inputs: RankingInputs) -> Floats:
    """One row per request, [len(CONTEXT_LOG_NAMES)]."""
    codes = inputs.recent_RK.ravel().astype(np.float32)
    return np.concatenate([inputs.recent_RF.ravel(), codes, inputs.context_U])


def inputs_of_log(candidates: Floats, context: Floats) -> RankingInputs:
    """The inputs that these rows were made of."""
    recent, codes = RECENT_ITEMS * len(RECENT_NAMES), RECENT_ITEMS * len(CODE_NAMES)
    return RankingInputs(
        features_CF=candidates[:, : len(FEATURE_NAMES)],
        codes_CK=candidates[:, len(FEATURE_NAMES) :].astype(np.int32),
        recent_RF=context[:recent].reshape(RECENT_ITEMS, len(RECENT_NAMES)),
        recent_RK=context[recent : recent + codes].astype(np.int32).reshape(RECENT_ITEMS, len(CODE_NAMES)),
        context_U=context[recent + codes :],
    )
