"""Why an item is shown, read off the very features it was ranked by."""

from __future__ import annotations

from collections.abc import Mapping

from training.features.ranking import FEATURE_NAMES, ItemFacts

Reason = dict[str, str]
MOST = 3


def reasons(
    features: Mapping[str, float], facts: ItemFacts, *, popular_at: float, affinity: float | None
) -> list[Reason]:
    """At most three, the strongest kind first; `popular_at` is the log popularity of the shop's top tenth."""
    found: list[Reason] = []

    def say(code: str, text: str) -> None:
        found.append({"code": code, "text": text})

    if affinity is not None and affinity >= 0.5:
        say("context", "goes with what you are looking at")
    if features.get("seen_recency", 0) > 0:
        say("seen", "you looked at it before")
    if features.get("category_affinity", 0) > 0:
        say("category", f"in {facts.leaf.rsplit('/', 1)[-1]}, which you looked at lately")
    if features.get("brand_affinity", 0) > 0:
        say("brand", f"from {facts.brand}, which you looked at lately")
    if not features.get("category_affinity", 0) and features.get("root_affinity", 0) > 0:
        say("department", f"from {facts.root}, where you looked lately")
    if 0 < popular_at <= features.get("popularity", 0):
        say("popular", "popular in this shop")
    if not found:
        say("taste", "fits what you liked so far" if features.get("user_recency", 0) > 0 else "a good place to start")
    return found[:MOST]


def named(row: list[float] | None) -> dict[str, float]:
    """A row of features_CF by name; empty where the item was not ranked."""
    return dict(zip(FEATURE_NAMES, row, strict=True)) if row else {}
