"""Numbers that sort as the ids do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.indexes.id_order import IdOrder


@given(st.lists(st.text(max_size=4), unique=True), st.lists(st.text(max_size=4), unique=True))
def test_keys_sort_as_the_ids(first: list[str], later: list[str]) -> None:
    later = [name for name in later if name not in first]
    order = IdOrder(first)
    for name in later:
        order.extend([name])
    ids = [*first, *later]
    assert [ids[slot] for slot in np.argsort(order.keys_S)] == sorted(ids)


@pytest.mark.parametrize("numbers", [range(3000, 6000), range(5999, 2999, -1)])
def test_many_ids_at_one_place(numbers: range) -> None:
    ids = [f"a{n:04d}" for n in range(3000)] + ["b"]
    order = IdOrder(ids)
    for number in numbers:
        ids.append(f"a{number:04d}")
        order.extend(ids[-1:])
    assert [ids[slot] for slot in np.argsort(order.keys_S)] == sorted(ids)
