"""An index dealt over Ray actors answers as one index would; a lost or late actor is said, and comes back whole."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving_shop import wait_until
from training.contracts.errors import ShopkeeperError
from training.indexes.config import IndexConfig
from training.indexes.faiss_index import FaissIndex
from training.indexes.registry import build_index
from training.indexes.sharded import ShardedIndex, shard_of, split_ids
from training.metrics import Bools, Floats

pytestmark = pytest.mark.ray

SHARDS, ITEMS, DIM, QUERIES, K = 3, 6_000, 64, 500, 50
"""Queries, masks, changes and answers are then too large to travel inside a message: they lie in the object store."""
IDS = [f"item-{n:05d}" for n in range(ITEMS)]
EXACT = IndexConfig(kind="exact")
TIMEOUT_S = 20.0
RESTART_S = 90.0


def vectors(rows: int, seed: int) -> Floats:
    """Of few values: many scores are equal to the bit."""
    return np.random.default_rng(seed).integers(-1, 2, (rows, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def dealt(own_ray: None, tmp_path_factory: pytest.TempPathFactory) -> ShardedIndex:
    from deployments.ray_shards import build_ray_shards

    folder = tmp_path_factory.mktemp("shards")
    return build_ray_shards(
        IDS, vectors(ITEMS, 0), EXACT, folder, shards=SHARDS, timeout_s=TIMEOUT_S, start_timeout_s=240
    )


@pytest.fixture(scope="module")
def one() -> FaissIndex:
    return build_index(IDS, vectors(ITEMS, 0), EXACT)


def change(index: ShardedIndex | FaissIndex, seed: int) -> None:
    """New, overwritten, deleted and revived items, one of them twice."""
    fresh = [f"item-{seed:02d}-{n:04d}" for n in range(1_000)]
    names = [*fresh, *IDS[seed * 100 : seed * 100 + 1_000], fresh[0]]
    index.upsert(names, vectors(len(names), seed))
    for item_id in (*fresh[10:20], *IDS[seed * 100 + 50 : seed * 100 + 60]):
        index.delete(item_id)
    index.upsert(fresh[12:14], vectors(2, seed + 1))


def assert_same(dealt: ShardedIndex, one: FaissIndex, allowed_S: Bools | None = None, *, missing: int = -1) -> None:
    """To the bit, order of ties included; without the shard that is missing, if one is."""
    answer = dealt.search(vectors(QUERIES, 99), K, allowed_S)
    if missing >= 0:
        there_S = np.array([shard_of(item_id, SHARDS) != missing for item_id in one.ids])
        allowed_S = there_S if allowed_S is None else allowed_S & there_S
    for ours, theirs in zip(answer, one.search(vectors(QUERIES, 99), K, allowed_S), strict=True):
        assert np.array_equal(ours, theirs)
        assert ours.flags.writeable
    assert dealt.missing == (() if missing < 0 else (missing,))


def assert_whole_soon(dealt: ShardedIndex, one: FaissIndex) -> None:
    def whole() -> bool:
        dealt.search(vectors(1, 0), 1)
        return not dealt.missing

    wait_until(whole, timeout_s=RESTART_S)
    assert_same(dealt, one)


def process_of(port: Any) -> int:
    import ray

    return int(ray.get(port.actor.__ray_call__.remote(lambda _: os.getpid()), timeout=RESTART_S))


def test_actors_answer_as_one_index(dealt: ShardedIndex, one: FaissIndex) -> None:
    assert len({process_of(port) for port in dealt.ports} | {os.getpid()}) == SHARDS + 1
    assert all(part for part in split_ids(IDS, SHARDS))
    assert_same(dealt, one)
    for index in (dealt, one):
        change(index, 1)
    assert (list(dealt.ids), len(dealt)) == (list(one.ids), len(one))
    _, scores_BK = one.search(vectors(QUERIES, 99), K)
    assert (np.diff(scores_BK) == 0).any(axis=1).all(), "every answer has ties"
    rng = np.random.default_rng(5)
    for share in (1.0, 0.5, 0.005, 0.0):
        assert_same(dealt, one, rng.random(one.slots) < share)
    assert_same(dealt, one)


def test_a_killed_actor_is_said_and_learns_what_it_missed(dealt: ShardedIndex, one: FaissIndex) -> None:
    lost = process_of(dealt.ports[0])
    os.kill(lost, signal.SIGKILL)
    assert_same(dealt, one, missing=0)
    for index in (dealt, one):
        change(index, 2)
    assert_whole_soon(dealt, one)
    assert process_of(dealt.ports[0]) != lost


def test_a_restart_that_nobody_saw_is_seen(dealt: ShardedIndex, one: FaissIndex) -> None:
    """The new actor is up before the next call and would answer, without all that changed since it was built."""
    lost = process_of(dealt.ports[1])
    os.kill(lost, signal.SIGKILL)
    wait_until(lambda: _is_up_anew(dealt.ports[1], lost), timeout_s=RESTART_S)
    assert_same(dealt, one, missing=1)
    assert_whole_soon(dealt, one)


def _is_up_anew(port: Any, lost: int) -> bool:
    from ray.exceptions import RayActorError

    try:
        return process_of(port) != lost
    except RayActorError:
        return False


def test_a_hung_actor_costs_one_deadline(dealt: ShardedIndex, one: FaissIndex) -> None:
    hung = process_of(dealt.ports[2])
    dealt.timeout_s = 3.0
    os.kill(hung, signal.SIGSTOP)
    try:
        begun_s = time.monotonic()
        assert_same(dealt, one, missing=2)
        assert time.monotonic() - begun_s > dealt.timeout_s
        for index in (dealt, one):
            change(index, 3)
        assert_same(dealt, one, missing=2)
    finally:
        dealt.timeout_s = TIMEOUT_S
        os.kill(hung, signal.SIGCONT)
    assert_whole_soon(dealt, one)
    assert process_of(dealt.ports[2]) == hung


def test_actors_that_find_no_room_are_said(own_ray: None, tmp_path: Path) -> None:
    from deployments.ray_shards import build_ray_shards

    with pytest.raises(ShopkeeperError, match="shard 0 did not start in 1 s"):
        build_ray_shards(
            IDS, vectors(ITEMS, 0), EXACT, tmp_path, shards=1, timeout_s=1, num_cpus=100, start_timeout_s=1.0
        )
