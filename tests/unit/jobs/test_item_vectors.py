"""First values of the item embeddings: items that the same people touch are alike."""

from __future__ import annotations

import numpy as np

from training.features.sequences import Histories
from training.jobs.item_vectors import vectors_before


def histories_of(users_N: np.ndarray, codes_N: np.ndarray) -> Histories:
    counts_U = np.bincount(users_N)
    return Histories(
        user_ids=[f"u{user}" for user in range(len(counts_U))], offsets_U=np.r_[0, np.cumsum(counts_U)],
        codes_N=codes_N.astype(np.int32), timestamps_us_N=np.arange(len(codes_N)),
        positive_N=np.ones(len(codes_N), np.bool_),
    )  # fmt: skip


def test_items_of_the_same_people_get_like_vectors() -> None:
    rng = np.random.default_rng(0)
    users_N = np.repeat(np.arange(50), 20)
    histories = histories_of(users_N, rng.integers(5, size=len(users_N)) + 5 * (users_N % 2))
    codes_I = np.arange(11, dtype=np.int32)
    vectors_IW = vectors_before(histories, np.full(50, 2**62), codes_I, width=4)
    cosines_II = vectors_IW @ vectors_IW.T
    assert cosines_II[:5, :5].mean() > 0.5 > 0.2 > cosines_II[:5, 5:10].mean()
    assert np.allclose(np.linalg.norm(vectors_IW[:10], axis=1), 1.0)
    assert (vectors_IW[10] == 0).all()
    assert (vectors_before(histories, np.zeros(50), codes_I, width=16) == 0).all()


def test_an_item_that_the_retriever_does_not_know_takes_nobodys_place() -> None:
    histories = histories_of(np.repeat(np.arange(8), 6), np.tile([0, 1, 0, 1, 2, 3], 8))
    known_IW = vectors_before(histories, np.full(8, 2**62), np.array([0, 1, 2, 3], np.int32), width=3)
    more_IW = vectors_before(histories, np.full(8, 2**62), np.array([0, 1, 2, 3, -1], np.int32), width=3)
    assert (more_IW[4] == 0).all()
    assert np.allclose(known_IW @ known_IW.T, (more_IW @ more_IW.T)[:4, :4], atol=1e-5)


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
