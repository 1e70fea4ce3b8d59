"""What is acknowledged survives a kill, over both stores; what could lose it is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import redis

from deployments.state.events import EventRow, Outcome
from deployments.state.open import open_store
from deployments.state.redis_server import REQUIRED, migrate
from deployments.state.store import Store, StoreUnavailable
from training.contracts.errors import InputError

if TYPE_CHECKING:
    from tests.integration.conftest import RedisProcess

WRITER = """
import sys
from deployments.state.events import EventRow
from deployments.state.open import open_store
url, shop_id, user_id = sys.argv[1:]
store = open_store(url, shop_id)
for batch in range(100_000):
    rows = [EventRow(user_id, "view", f"{batch}-{n}", event_id=f"{batch}-{n}", received_at_us=n) for n in range(10)]
    store.append_events(rows)
    print(batch, flush=True)
"""


def test_threads_and_processes_write_at_once(store_url: str, shop_id: str, store: Store) -> None:
    """Six threads and two processes write the same ids: each of them counts once, and none is lost."""
    code = WRITER.replace("100_000", "20")
    writers = [
        subprocess.Popen([sys.executable, "-c", code, store_url, shop_id, "ann"], stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]

    def write(batch: int) -> int:
        rows = [EventRow("bob", "view", f"{batch}-{n}", event_id=f"{batch}-{n}", received_at_us=n) for n in range(10)]
        return store.append_events(rows).count(Outcome.ACCEPTED)

    with ThreadPoolExecutor(6) as pool:
        accepted = sum(pool.map(write, [*range(20), *range(20)]))
    assert [writer.wait() for writer in writers] == [0, 0]
    assert accepted == len(store.seen("bob")) == len(store.seen("ann")) == 200
    assert store.stats()["events"] == 400


def test_killing_the_writer_loses_nothing_acknowledged(store_url: str, shop_id: str) -> None:
    acknowledged = _killed_writer(store_url, shop_id, lambda writer: writer.kill())
    reopened = open_store(store_url, shop_id)
    assert reopened.seen("ann") >= {f"{batch}-{n}" for batch in range(acknowledged) for n in range(10)}
    assert reopened.stats()["events"] % 10 == 0
    assert sum(len(rows) for rows in reopened.events()) == reopened.stats()["events"]
    reopened.close()


def test_killing_redis_loses_nothing_acknowledged(own_redis: RedisProcess, shop_id: str) -> None:
    own_redis.start()
    store = open_store(own_redis.url, shop_id)
    acknowledged = _killed_writer(own_redis.url, shop_id, lambda _: own_redis.kill())
    with pytest.raises(StoreUnavailable):
        store.append_events([EventRow("bob", "view", "tea", received_at_us=1)])
    own_redis.start()
    assert store.seen("ann") >= {f"{batch}-{n}" for batch in range(acknowledged) for n in range(10)}
    assert store.append_events([EventRow("bob", "view", "tea", received_at_us=1)]) == [Outcome.ACCEPTED]
    store.close()


def _killed_writer(store_url: str, shop_id: str, kill: Callable[[subprocess.Popen[str]], None]) -> int:
    """Let a process write until 20 batches are acknowledged, kill, and return how many were acknowledged in the end."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, store_url, shop_id, "ann"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert writer.stdout is not None
    acknowledged = 0
    for line in writer.stdout:
        acknowledged = int(line) + 1
        if acknowledged == 20:
            kill(writer)
    assert writer.wait() != 0
    assert acknowledged >= 20
    return acknowledged


@pytest.mark.parametrize(
    ("name", "value"), [("appendonly", "no"), ("appendfsync", "everysec"), ("maxmemory-policy", "allkeys-lru")]
)
def test_a_server_that_could_lose_events_is_refused(own_redis: RedisProcess, name: str, value: str) -> None:
    own_redis.settings[name] = value
    own_redis.start()
    with pytest.raises(InputError) as refused:
        open_store(own_redis.url, "shop")
    (problem,) = refused.value.problems
    assert (problem.field, problem.found, problem.allowed) == (name, value, REQUIRED[name])
    assert f"CONFIG SET {name} {REQUIRED[name]}" in problem.problem


def test_a_server_that_is_not_there_is_unavailable(free_port: int) -> None:
    with pytest.raises(StoreUnavailable):
        open_store(f"redis://127.0.0.1:{free_port}/0", "shop")


def test_redis_migrates_step_by_step_and_refuses_a_newer_schema(shared_redis: RedisProcess, shop_id: str) -> None:
    open_store(shared_redis.url, shop_id).close()
    prefix = f"shopkeeper:{{{shop_id}}}:"
    with redis.Redis.from_url(shared_redis.url, decode_responses=True) as client:
        steps = [lambda _, __: pytest.fail("ran again"), lambda at, key: at.set(f"{key}second", "done")]
        migrate(client, prefix, place="here", migrations=steps)
        assert (client.get(f"{prefix}schema"), client.get(f"{prefix}second")) == ("2", "done")
    with pytest.raises(InputError, match="newer version"):
        open_store(shared_redis.url, shop_id)
