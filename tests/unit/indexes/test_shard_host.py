"""A shard in a process of its own answers only who knows its state, and takes arrays that may not be written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.contracts.errors import InputError
from training.indexes.config import IndexConfig, Kind
from training.indexes.registry import INDEXES, build_index
from training.indexes.shard_host import MissedChanges, ShardHost
from training.indexes.shards import Change, News
from training.metrics import Floats

IDS = [f"item-{n:03d}" for n in range(300)]
VECTORS = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)


def read_only(array: np.ndarray) -> np.ndarray:
    """As it comes from Ray's object store."""
    view = array.view()
    view.flags.writeable = False
    return view


def news(upserted: dict[str, Floats], deleted: list[str]) -> News:
    changes = {item_id: Change(vector_D, deleted=item_id in deleted) for item_id, vector_D in upserted.items()}
    told = News.of(changes | {item_id: Change(None, deleted=True) for item_id in deleted if item_id not in upserted})
    return told._replace(vectors_UD=read_only(told.vectors_UD))


@pytest.mark.parametrize("kind", sorted(INDEXES))
def test_arrays_may_be_read_only(kind: Kind, tmp_path: Path) -> None:
    index = build_index(IDS, VECTORS, IndexConfig(kind=kind, exact_below=10))
    index.save(tmp_path)
    host = ShardHost(str(tmp_path))
    host.change(host.state(), news({"new": VECTORS[0] * 2, IDS[1]: VECTORS[2], "gone": VECTORS[3]}, ["gone", IDS[4]]))
    index.upsert(["new", IDS[1], "gone"], np.stack([VECTORS[0] * 2, VECTORS[2], VECTORS[3]]))
    for item_id in ("gone", IDS[4]):
        index.delete(item_id)
    allowed_S = read_only(np.arange(302) % 3 > 0)
    for mask_S in (None, allowed_S):
        ours = host.search(host.state(), read_only(VECTORS[:5]), 20, mask_S)
        for mine, his in zip(ours, index.search(VECTORS[:5], 20, mask_S), strict=True):
            assert np.array_equal(mine, his)


def test_a_shard_that_missed_a_change_does_not_answer(tmp_path: Path) -> None:
    build_index(IDS, VECTORS).save(tmp_path)
    host = ShardHost(str(tmp_path))
    before = host.state()
    lost = before._replace(changes=1)
    with pytest.raises(MissedChanges):
        host.search(lost, VECTORS[:1], 3, None)
    with pytest.raises(MissedChanges):
        host.change(lost, news({"new": VECTORS[0]}, []))
    assert host.state() == before
    host.change(before, news({"new": VECTORS[0]}, []))
    assert host.state() == lost


def test_a_change_that_fails_is_missed(tmp_path: Path) -> None:
    build_index(IDS, VECTORS).save(tmp_path)
    host = ShardHost(str(tmp_path))
    before = host.state()
    with pytest.raises(KeyError):
        host.change(before, news({}, ["never"]))
    assert host.state() == before


def test_one_that_began_anew_does_not_answer_for_the_one_before(tmp_path: Path) -> None:
    build_index(IDS, VECTORS).save(tmp_path)
    before = ShardHost(str(tmp_path)).state()
    with pytest.raises(MissedChanges):
        ShardHost(str(tmp_path)).search(before, VECTORS[:1], 3, None)


def test_a_damaged_shard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"index\.json"):
        ShardHost(str(tmp_path))


def test_an_empty_shard_takes_its_first_item(tmp_path: Path) -> None:
    """A small catalogue leaves some shards without an item."""
    build_index([], VECTORS[:0]).save(tmp_path)
    host = ShardHost(str(tmp_path))
    assert host.search(host.state(), VECTORS[:2], 3, None)[0].shape == (2, 0)
    host.change(host.state(), news({"first": VECTORS[0]}, []))
    assert host.search(host.state(), VECTORS[:2], 3, None)[0].tolist() == [[0], [0]]
