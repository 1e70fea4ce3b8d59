"""Pictures of every size come into the square as Pillow would bring them there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training.models.detector import margins
from training.models.squares import squared


@pytest.mark.parametrize(("height", "width"), [(10, 40), (40, 10), (1, 300), (48, 48), (25, 24)])
def test_keeps_the_aspect(height: int, width: int) -> None:
    square = squared(np.zeros((height, width, 3), np.uint8), 48)
    assert square.shape == (48, 48, 3)
    dark = square[:, :, 0] == 0
    assert dark.any(axis=1).sum() == max(1, round(48 * height / max(height, width)))
    assert dark.any(axis=0).sum() == max(1, round(48 * width / max(height, width)))


@given(
    height=st.integers(1, 300), width=st.integers(1, 300), side=st.sampled_from([8, 28, 96]), seed=st.integers(0, 99)
)
@settings(max_examples=60, deadline=None)
def test_is_within_two_levels_of_pillow(height: int, width: int, side: int, seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    square = squared(picture, side)
    left, top, across, down = (int(length) for pair in margins(height, width, side) for length in pair)
    expected = np.asarray(Image.fromarray(picture).resize((across, down), Image.Resampling.BILINEAR))
    inner = square[top : top + down, left : left + across]
    assert np.abs(inner.astype(int) - expected).max() <= 2
    assert (square == 255).all(axis=2).sum() >= side * side - across * down


def test_takes_views_and_pictures_that_cannot_be_written() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    turned = squared(picture[::-1, 10:50], 32)
    np.testing.assert_array_equal(turned, squared(picture[::-1, 10:50].copy(), 32))
    picture.flags.writeable = False
    assert squared(picture, 32).shape == (32, 32, 3)
