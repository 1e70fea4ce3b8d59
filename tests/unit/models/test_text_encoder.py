"""Sentence vectors: meaning, independence of the batch, and sources that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.contracts.errors import InputError
from training.models.text_encoder import TextEncoder


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder()


def test_like_texts_are_near(encoder: TextEncoder) -> None:
    red_shoe, red_boot, kettle = encoder.encode(["red leather shoe", "boots of red leather", "electric kettle"])
    assert red_shoe @ red_boot > red_shoe @ kettle + 0.2
    assert np.linalg.norm(red_shoe) == pytest.approx(1.0, abs=1e-3)


def test_a_vector_hardly_depends_on_its_batch(encoder: TextEncoder) -> None:
    alone = encoder.encode(["oak table"])[0]
    among = encoder.encode(["a much longer text about a table made of oak and steel", "oak table", ""])[1]
    assert alone @ among > 0.999


def test_no_text_is_no_vector(encoder: TextEncoder) -> None:
    assert not encoder.encode(["", "  "]).any()


def test_a_folder_that_holds_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="text_encoder"):
        TextEncoder(str(tmp_path))
