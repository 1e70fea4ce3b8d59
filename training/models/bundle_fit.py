"""Whether a recommender bundle fits a shop: mostly the same items under the same ids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training.contracts.errors import InputError, Problem, shorten
from training.features.vocabulary import FEATURES_FILE, Vocabulary
from training.models.content_regression import ContentRegression

LEAST_SHARED = 0.1
"""Of the smaller of both vocabularies: catalogues grow and shrink, but one lies within the other."""
COMPARED, LEAST_COMPARED = 200, 20
LEAST_LIKENESS, LEAST_SAME = 0.2, 0.5
"""Cosine of contents from which two items count as the same, and the share of shared ids that must."""
EXAMPLES = 3

Item = Callable[[str], Mapping[str, Any] | None]


def refuse_other_items(folder: Path, *, item_ids: Collection[str], item: Item) -> None:
    """Raise InputError with the difference where the bundle in `folder` was trained on other items than the shop's.

    `item` gives an item's fields. A shop without items fits every bundle: they are still to come.
    """
    vocabulary = Vocabulary.load(folder / FEATURES_FILE)
    if not len(item_ids) or not len(vocabulary):
        return
    shared = [item_id for item_id in vocabulary.ids if item_id in item_ids]
    if len(shared) < LEAST_SHARED * min(len(vocabulary), len(item_ids)):
        raise InputError(_unknown(vocabulary, item_ids, len(shared)))
    _refuse_other_contents(ContentRegression.load(folder), vocabulary, shared, item)


def _unknown(vocabulary: Vocabulary, item_ids: Collection[str], shared: int) -> Problem:
    only_bundle = (item_id for item_id in vocabulary.ids if item_id not in item_ids)
    only_shop = (item_id for item_id in item_ids if item_id not in vocabulary)
    return Problem(
        field="item_id",
        problem="the bundle does not fit the shop: it was trained on other items",
        found=f"{shared} items in common; {len(vocabulary) - shared} only in the bundle ({_some(only_bundle)}), "
        f"{len(item_ids) - shared} only in the shop ({_some(only_shop)})",
        allowed=f"{LEAST_SHARED:.0%} of the smaller side in common",
    )


def _refuse_other_contents(
    regression: ContentRegression, vocabulary: Vocabulary, shared: list[str], item: Item
) -> None:
    """The same ids may name other things: compare the contents of some."""
    chosen = [shared[place] for place in np.linspace(0, len(shared) - 1, min(COMPARED, len(shared))).astype(int)]
    found = [(item_id, fields) for item_id in chosen if (fields := item(item_id)) is not None]
    if not found:
        return
    ids, contents = zip(*found, strict=True)
    likeness_Q = regression.likeness(vocabulary.encode(list(ids)), list(contents))
    compared = np.flatnonzero(~np.isnan(likeness_Q))
    other = compared[likeness_Q[compared] < LEAST_LIKENESS]
    if len(compared) < LEAST_COMPARED or len(other) <= (1 - LEAST_SAME) * len(compared):
        return
    titles = (f"{ids[place]} is now {contents[place].get('title') or 'without title'}" for place in other)
    raise InputError(
        Problem(
            field="item_id",
            problem="the bundle does not fit the shop: its ids name other items there",
            found=f"{len(other)} of {len(compared)} items compared by content are not alike ({_some(titles)})",
            allowed=f"{LEAST_SAME:.0%} alike",
        )
    )


def _some(names: Iterable[str]) -> str:
    """The first few, for an error line."""
    first = [shorten(name, 40) for name, _ in zip(names, range(EXAMPLES + 1), strict=False)]
    return ", ".join(first[:EXAMPLES]) + (", …" if len(first) > EXAMPLES else "")
