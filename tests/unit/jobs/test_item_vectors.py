"""First values of the item embeddings: items that the same people touch are alike."""

from __future__ import annotations

import numpy as np

from training.features.sequences import Histories
from training.jobs.item_vectors import item_vectors, vectors_before


def test_items_of_the_same_people_get_like_vectors() -> None:
    rng = np.random.default_rng(0)
    users_N = np.repeat(np.arange(50), 20)
    codes_N = rng.integers(5, size=len(users_N)) + 5 * (users_N % 2)
    vectors_IW = item_vectors(users_N, codes_N, items=11, width=4)
    cosines_II = vectors_IW @ vectors_IW.T
    assert cosines_II[:5, :5].mean() > 0.5 > 0.2 > cosines_II[:5, 5:10].mean()
    assert (vectors_IW[10] == 0).all()
    assert (item_vectors(users_N[:0], codes_N[:0], items=11, width=16) == 0).all()


def test_what_a_user_did_later_is_not_in_the_vectors() -> None:
    early = [0, 1, 2, 3] * 5
    histories = Histories(
        user_ids=["u"], offsets_U=np.array([0, 40]), codes_N=np.array([*early, *[4, 5] * 10], np.int32),
        timestamps_us_N=np.arange(40), positive_N=np.ones(40, np.bool_),
    )  # fmt: skip
    codes_I = np.arange(6, dtype=np.int32)
    before_IW = vectors_before(histories, np.array([20]), codes_I, width=4)
    assert (before_IW[4:] == 0).all()
    assert (before_IW[:4] != 0).any()
    assert (vectors_before(histories, np.array([40]), codes_I, width=4)[4:] != 0).any()
