from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from training.features.vocabulary import Vocabulary


@given(st.lists(st.text(max_size=5)))
def test_codes_are_in_the_order_of_the_ids(ids: list[str]) -> None:
    vocabulary = Vocabulary(ids)
    assert vocabulary.ids == sorted(set(ids))
    assert vocabulary.encode(vocabulary.ids).tolist() == list(range(len(vocabulary)))
    assert vocabulary.decode(vocabulary.encode(ids)) == ids


def test_arrow_and_lists_encode_alike(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["b", "a", "ü"])
    vocabulary.save(tmp_path / "features.json")
    loaded = Vocabulary.load(tmp_path / "features.json")
    assert "ü" in loaded
    assert loaded.encode(pa.chunked_array([["a", None], ["?", "ü"]])).tolist() == [0, -1, -1, 2]
    assert loaded.encode(["a", "?", "ü"]).tolist() == [0, -1, 2]
