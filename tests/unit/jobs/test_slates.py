"""The served log as slates: what is known of a request is what its own answer logged, whatever came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.brand_shop import write_recommender, write_shop
from training.contracts.progress import NoProgress
from training.contracts.shop import Shop
from training.features.profile import Profile
from training.features.ranking import CONTEXT_NAMES, RankingState, RequestFacts
from training.features.short_term import REQUEST_NAMES, context_row, request_of_log
from training.jobs.past_shop import PastShop
from training.jobs.slates import served_slates


@dataclass(frozen=True, kw_only=True)
class Requests:
    """The request's part of context_U of each slate, and whether anything was clicked."""

    context_LU: np.ndarray
    clicked_L: np.ndarray


def requests(shop: Shop, home: Path) -> Requests:
    past = PastShop(shop, write_recommender(shop, home))
    examples = past.examples(served_slates(shop, newest=10**6), NoProgress())
    columns = [CONTEXT_NAMES.index(name) for name in REQUEST_NAMES]
    return Requests(
        context_LU=np.stack([one.context_U[columns] for one in examples.inputs]),
        clicked_L=np.array([slate.labels_CH.any() for slate in examples.slates]),
    )


def test_events_that_name_their_device_do_not_tell_which_slates_were_clicked(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop", log=True)
    assert shop.table("events", ["context"])["context"][0].as_py() == [("device", "mobile")]
    found = requests(shop, tmp_path / "home")
    assert 0 < found.clicked_L.mean() < 1
    assert (found.context_LU == 0).all()


def test_what_the_log_says_of_a_request_is_learnt_of_all_slates_alike(tmp_path: Path) -> None:
    asked = RequestFacts("cart", "desktop")
    found = requests(write_shop(tmp_path / "shop", log=True, asked=asked), tmp_path / "home")
    named = dict(zip(REQUEST_NAMES, found.context_LU.T, strict=True))
    assert {name for name, values_L in named.items() if values_L.all()} == {"scenario_cart", "device_desktop"}
    assert found.context_LU.sum() == 2 * len(found.clicked_L)


@pytest.mark.parametrize(("scenario", "device"), [("", ""), ("home", "mobile"), ("product", "fridge"), ("", "tablet")])
def test_a_logged_request_is_read_back_as_it_was_served(scenario: str, device: str) -> None:
    state = RankingState(price_edges={}, popularity={}, ordinal_time=False)
    served_U, again_U = (
        context_row(Profile("u"), [], {}, state, 0, request)
        for request in (
            RequestFacts(scenario, device),
            request_of_log(CONTEXT_NAMES, context_row(Profile("u"), [], {}, state, 0, RequestFacts(scenario, device))),
        )
    )
    assert np.array_equal(served_U, again_U)
