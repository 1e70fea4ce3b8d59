"""A sharded index answers as one index would; a lost shard is said, and comes back with what it missed."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.indexes.config import IndexConfig
from training.indexes.registry import build_index
from training.indexes.sharded import ShardedIndex, split_ids
from training.indexes.shards import Change, InProcessShard, ShardPort
from training.metrics import Bools, Floats, Ints

NAMES = [f"item-{n:02d}" for n in range(24)]
EXACT = IndexConfig(kind="exact")
changes = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(-2, 2) | st.none()), max_size=20)


def vectors(values: list[int]) -> Floats:
    return np.array([[value, value % 2, 1.0] for value in values], np.float32)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(-2, 2), max_size=16), changes=changes, shards=st.integers(1, 4), k=st.integers(1, 30),
    bits=st.integers(0, 2**24 - 1),
)  # fmt: skip
def test_answers_are_those_of_one_index(
    values: list[int], changes: list[tuple[str, int | None]], shards: int, k: int, bits: int
) -> None:
    ids = NAMES[: len(values)]
    one = build_index(ids, vectors(values).reshape(-1, 3), EXACT)
    many = ShardedIndex.in_process(ids, vectors(values).reshape(-1, 3), EXACT, shards=shards)
    for index in (one, many):
        for name, value in changes:
            if value is not None:
                index.upsert([name], vectors([value]))
            elif name in index:
                index.delete(name)
    assert (list(many.ids), len(many)) == (list(one.ids), len(one))
    allowed = np.array([bool(bits >> slot & 1) for slot in range(one.slots)], np.bool_)
    queries = np.array([[1, 0.5, 0], [-1, 2, 3]], np.float32)
    for mask in (None, allowed):
        for ours, theirs in zip(many.search(queries, k, mask), one.search(queries, k, mask), strict=True):
            assert np.array_equal(ours, theirs)
    assert many.missing == ()


class MortalShard(ShardPort):
    """Dies when told to; says hello with a fresh build once it is mended."""

    def __init__(self, ids: list[str], vectors_ID: Floats) -> None:
        self.ids, self.vectors_ID = ids, vectors_ID
        self.waiting: list[Future[None]] = []
        self.begin()

    def begin(self) -> None:
        self.inner: InProcessShard | None = InProcessShard(build_index(self.ids, self.vectors_ID, EXACT))
        for hello in self.waiting:
            hello.set_result(None)

    def search(self, queries_BD: Floats, k: int, allowed_S: Bools | None) -> Future[tuple[Ints, Floats]]:
        return self.inner.search(queries_BD, k, allowed_S) if self.inner else _failed()

    def change(self, changes: dict[str, Change]) -> Future[None]:
        return self.inner.change(changes) if self.inner else _failed()

    def hello(self) -> Future[None]:
        self.waiting.append(Future())
        return self.waiting[-1]


def _failed() -> Future:
    future: Future = Future()
    future.set_exception(ConnectionError("dead"))
    return future


def test_a_lost_shard_is_said_and_comes_back_with_what_it_missed() -> None:
    rng = np.random.default_rng(0)
    held = rng.standard_normal((24, 4)).astype(np.float32)
    parts = split_ids(NAMES, 2)
    ports = [MortalShard([NAMES[n] for n in part], held[part]) for part in parts]
    sharded, one = ShardedIndex(NAMES, ports, dim=held.shape[1], timeout_s=5), build_index(NAMES, held, EXACT)
    queries = rng.standard_normal((3, 4)).astype(np.float32)

    def upsert(names: list[str], seed: int) -> None:
        news = np.random.default_rng(seed).standard_normal((len(names), 4)).astype(np.float32)
        for index in (sharded, one):
            index.upsert(names, news)

    upsert(["late-1", NAMES[3], "late-2", "late-3"], 1)
    ports[0].inner = None
    slots, _ = sharded.search(queries, 10)
    assert sharded.missing == (0,)
    assert not set(slots.ravel().tolist()) & set(parts[0])
    upsert(["later-1", NAMES[0], "later-2", "later-3"], 2)
    for index in (sharded, one):
        index.delete(NAMES[1])
        index.delete("late-2")
    ports[0].begin()
    for ours, theirs in zip(sharded.search(queries, 20), one.search(queries, 20), strict=True):
        assert np.array_equal(ours, theirs)
    assert sharded.missing == ()


def test_a_late_shard_costs_no_more_than_its_deadline() -> None:
    class Slow(MortalShard):
        def search(self, queries_BD: Floats, k: int, allowed_S: Bools | None) -> Future[tuple[Ints, Floats]]:
            super().search(queries_BD, k, allowed_S)
            return Future()

    held = np.eye(24, dtype=np.float32)
    parts = split_ids(NAMES, 2)
    ports = [
        Slow([NAMES[n] for n in parts[0]], held[parts[0]]),
        MortalShard([NAMES[n] for n in parts[1]], held[parts[1]]),
    ]
    index = ShardedIndex(NAMES, ports, dim=24, timeout_s=0.05)
    slots, _ = index.search(held[:1], 24)
    assert index.missing == (0,)
    assert set(slots[0][slots[0] >= 0].tolist()) == set(parts[1])
    with pytest.raises(ValueError, match="covers"):
        index.search(held[:1], 1, np.ones(3, np.bool_))


@pytest.mark.parametrize(
    ("ids", "rows"), [(["new"], np.ones((1, 2))), (["new", "newer"], np.ones((1, 3))), (["new"], [[1, np.nan, 0]])]
)
def test_vectors_that_do_not_fit_change_nothing(ids: list[str], rows: Floats) -> None:
    held = vectors(list(range(4))).reshape(-1, 3)
    one, many = build_index(NAMES[:4], held, EXACT), ShardedIndex.in_process(NAMES[:4], held, EXACT, shards=2)
    for index in (one, many):
        with pytest.raises(ValueError, match=r"shape|finite"):
            index.upsert(ids, np.asarray(rows, np.float32))
        assert list(index.ids) == NAMES[:4]
        assert index.search(held[:1], 4)[0].shape == (1, 4)
    assert many.missing == ()
