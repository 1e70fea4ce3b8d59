"""A bundle made from other items is refused with the difference; one whose shop has moved on is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.contracts.errors import InputError
from training.features.vocabulary import FEATURES_FILE, Vocabulary
from training.models.bundle_fit import refuse_other_items
from training.models.content_regression import ContentRegression

WORDS = ("green", "tall", "oak", "lamp", "silver", "cotton", "round", "glass")
Items = Mapping[str, Mapping[str, Any]]


def catalogue(ids: range, *, salt: str = "") -> dict[str, dict[str, Any]]:
    """Items whose title and brand are their own."""
    return {
        f"{n}": {"item_id": f"{n}", "title": f"{salt}{WORDS[n % 8]} {salt}thing {salt}{n}", "brand": f"{salt}{n % 11}"}
        for n in ids
    }


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    items = catalogue(range(100))
    vocabulary = Vocabulary(items)
    vocabulary.save(folder / FEATURES_FILE)
    contents = [items[item_id] for item_id in vocabulary.ids]
    ContentRegression.fit(contents, np.arange(100) % 10 > 0).save(folder)
    return folder


def check(bundle: Path, items: Items) -> None:
    refuse_other_items(bundle, item_ids=items.keys(), item=items.get)


@pytest.mark.parametrize("ids", [range(100), range(3), range(1_000), range(80, 300), range(0)])
def test_a_catalogue_that_shrank_grew_or_moved_on_still_fits(bundle: Path, ids: range) -> None:
    check(bundle, catalogue(ids))


def test_items_that_changed_their_texts_a_little_still_fit(bundle: Path) -> None:
    items = catalogue(range(100))
    check(bundle, {item_id: {**item, "title": item["title"] + " in new packing"} for item_id, item in items.items()})


def test_items_without_content_are_known_by_their_ids_alone(bundle: Path) -> None:
    check(bundle, {f"{n}": {"item_id": f"{n}"} for n in range(10)})


def test_other_items_are_refused_with_the_difference(bundle: Path) -> None:
    with pytest.raises(InputError) as caught:
        check(bundle, catalogue(range(95, 500)))
    (problem,) = caught.value.problems
    assert problem.found is not None
    assert problem.found.startswith(
        "5 items in common; 95 only in the bundle (0, 1, 10, …), 400 only in the shop (100,"
    )
    assert problem.allowed == "10% of the smaller side in common"


def test_the_same_ids_for_other_things_are_refused(bundle: Path) -> None:
    with pytest.raises(InputError, match="its ids name other items there") as caught:
        check(bundle, catalogue(range(100), salt="x"))
    (problem,) = caught.value.problems
    assert problem.found is not None
    assert problem.found.startswith("90 of 90 items compared by content are not alike (1 is now xtall xthing x1,")


def test_likeness_is_one_for_the_same_content_and_nothing_for_an_untrained_item() -> None:
    items = list(catalogue(range(30)).values())
    regression = ContentRegression.fit(items, np.arange(30) != 4)
    likeness_Q = regression.likeness(np.array([3, 4, 5], np.int32), [items[3], items[4], items[6]])
    assert likeness_Q[0] == pytest.approx(1.0)
    assert np.isnan(likeness_Q[1])
    assert likeness_Q[2] < 0.5
