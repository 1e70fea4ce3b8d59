"""Items that stand near each other begin near each other."""

from __future__ import annotations

import numpy as np

from training.features.cooccurrence import cooccurrence_vectors
from training.features.sequences import Sequences


def cosine(left_D: np.ndarray, right_D: np.ndarray) -> float:
    return float(left_D @ right_D / np.linalg.norm(left_D) / np.linalg.norm(right_D))


def two_worlds(seed: int) -> Sequences:
    """Histories over items 0-9 or over items 10-19; item 20 is in none."""
    rng = np.random.default_rng(seed)
    return Sequences.of([rng.permutation(10).astype(np.int32)[:5] + 10 * (user % 2) for user in range(400)])


def test_items_of_one_world_lie_together_and_of_two_apart() -> None:
    vectors_ID = cooccurrence_vectors(two_worlds(0), 21, 4)
    within = [cosine(vectors_ID[one], vectors_ID[other]) for one in range(10) for other in range(one)]
    across = [cosine(vectors_ID[one], vectors_ID[other]) for one in range(10) for other in range(10, 20)]
    assert min(within) > max(across)


def test_an_item_of_no_history_begins_at_nothing_and_the_others_at_mean_square_one() -> None:
    vectors_ID = cooccurrence_vectors(two_worlds(1), 21, 4)
    assert not vectors_ID[20].any()
    assert np.isclose(np.mean(np.square(vectors_ID)), 1.0, rtol=1e-5)


def test_the_same_histories_give_the_same_vectors_to_the_bit() -> None:
    assert np.array_equal(cooccurrence_vectors(two_worlds(2), 21, 4), cooccurrence_vectors(two_worlds(2), 21, 4))


def test_more_dimensions_than_items_leave_columns_of_nothing() -> None:
    vectors_ID = cooccurrence_vectors(Sequences.of([np.array([0, 1, 2], np.int32)]), 3, 8)
    assert vectors_ID.shape == (3, 8)
    assert np.isfinite(vectors_ID).all()
    assert not vectors_ID[:, 2:].any()


def test_histories_of_one_item_tell_nothing() -> None:
    assert not cooccurrence_vectors(Sequences.of([np.array([0], np.int32)] * 3), 5, 2).any()
    assert not cooccurrence_vectors(Sequences.of([]), 5, 2).any()
    assert cooccurrence_vectors(Sequences.of([np.array([0], np.int32)]), 1, 2).shape == (1, 2)


def test_unknown_items_are_passed_over() -> None:
    known, gaps = [0, 1, 2, 0, 1], [-1, 0, 1, -1, 2, 0, -1, 1]
    plain_ID, passed_ID = (
        cooccurrence_vectors(Sequences.of([np.array(codes, np.int32)] * 4), 4, 2) for codes in (known, gaps)
    )
    assert plain_ID.any()
    assert np.array_equal(plain_ID, passed_ID)


def test_a_smaller_window_sees_less_far() -> None:
    sequences = Sequences.of([np.array([0, 1, 2], np.int32), np.array([3, 4], np.int32)] * 3)
    near_ID, far_ID = (cooccurrence_vectors(sequences, 5, 2, window=window, fading=0.0) for window in (1, 2))
    assert not np.allclose(near_ID @ near_ID.T, far_ID @ far_ID.T)
