"""A sharded index whose shards are Ray actors, on whichever nodes have room."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import ray

from training.contracts.errors import ShopkeeperError
from training.indexes.config import IndexConfig
from training.indexes.registry import build_index
from training.indexes.shard_host import ShardHost, ShardState
from training.indexes.sharded import ShardedIndex, split_ids
from training.indexes.shards import Change, News, ShardPort
from training.metrics import Bools, Floats, Ints

ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


class RayShard(ShardPort):
    """An actor that holds the index saved in `folder`. Ray restarts it wherever it is lost, from the folder again.

    A call while it is away fails at once and is not repeated; only `hello` waits. Every call says how many changes
    the actor should have, so that one that was lost and restarted between two calls fails the next.
    """

    def __init__(self, folder: Path, *, num_cpus: float) -> None:
        host = ray.remote(ShardHost).options(
            num_cpus=num_cpus,
            max_restarts=-1,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": ENVIRONMENT},
        )
        self.actor: Any = host.remote(str(folder))
        self._expected = ShardState("", 0)

    def search(self, queries_BD: Floats, k: int, allowed_S: Bools | None) -> Future[tuple[Ints, Floats]]:
        """The arrays that come back are read-only: they lie in Ray's object store."""
        found: Future[tuple[Ints, Floats]] = self.actor.search.remote(self._expected, queries_BD, k, allowed_S).future()
        return found

    def change(self, changes: dict[str, Change]) -> Future[None]:
        done: Future[None] = self.actor.change.remote(self._expected, News.of(changes)).future()
        self._expected = self._expected._replace(changes=self._expected.changes + 1)
        return done

    def hello(self) -> Future[None]:
        done = Future[None]()

        def heard(said: Future[ShardState]) -> None:
            if (error := said.exception()) is not None:
                done.set_exception(error)
            else:
                self._expected = said.result()
                done.set_result(None)

        self.actor.state.options(max_task_retries=-1).remote().future().add_done_callback(heard)
        return done


def build_ray_shards(
    ids: Sequence[str],
    vectors_ID: Floats,
    config: IndexConfig,
    folder: Path,
    *,
    shards: int,
    timeout_s: float,
    num_cpus: float = 0.1,
    start_timeout_s: float = 120.0,
) -> ShardedIndex:
    """Build each shard, of the kind that its own size asks for, into `folder`, and an actor over it.

    The folder must be readable from every node for as long as the index is used. The actors end with the last
    reference to the index. `timeout_s` is for one search, or one change, by all shards side by side.
    """
    folders = [folder.absolute() / f"shard-{shard:03d}-of-{shards:03d}" for shard in range(shards)]
    for part, its_folder in zip(split_ids(ids, shards), folders, strict=True):
        build_index([ids[n] for n in part], vectors_ID[part], config).save(its_folder)
    ports = [RayShard(its_folder, num_cpus=num_cpus) for its_folder in folders]
    _await(ports, start_timeout_s)
    return ShardedIndex(ids, ports, dim=vectors_ID.shape[1], timeout_s=timeout_s)


def _await(ports: Sequence[RayShard], timeout_s: float) -> None:
    """Until every actor is up; raises ShopkeeperError where one does not come up."""
    hellos = [port.hello() for port in ports]
    wait(hellos, timeout=timeout_s)
    for shard, hello in enumerate(hellos):
        if not hello.done():
            raise ShopkeeperError(f"index shard {shard} did not start in {timeout_s:.0f} s: has Ray CPUs left?")
        if (error := hello.exception()) is not None:
            raise ShopkeeperError(f"index shard {shard} did not start: {error}") from error
