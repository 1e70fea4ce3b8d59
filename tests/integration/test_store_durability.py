"""What is acknowledged survives a kill, over both stores; what could lose it is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import redis

from deployments.state.events import EventRow, Outcome
from deployments.state.open import open_store
from deployments.state.redis_schema import MIGRATIONS, migrate
from deployments.state.redis_server import REQUIRED
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
        again = [lambda _, __: pytest.fail("ran again")] * len(MIGRATIONS)
        migrate(client, prefix, place="here", migrations=[*again, lambda at, key: at.set(f"{key}next", "done")])
        assert (client.get(f"{prefix}schema"), client.get(f"{prefix}next")) == (str(len(again) + 1), "done")
    with pytest.raises(InputError, match="newer version"):
        open_store(shared_redis.url, shop_id)


def test_redis_profiles_of_the_first_schema_get_their_dwell(shared_redis: RedisProcess, shop_id: str) -> None:
    store = open_store(shared_redis.url, shop_id)
    views = [EventRow("ann", "view", f"i{n}", event_id=f"e{n}", received_at_us=n, dwell_s=n / 3) for n in range(250)]
    store.append_events([*views, EventRow("ann", "search", received_at_us=999), EventRow("bob", "search", "x", 1)])
    before = {user_id: store.profile(user_id) for user_id in ("ann", "bob")}
    _to_first_schema(shared_redis.url, f"shopkeeper:{{{shop_id}}}:")
    reopened = open_store(shared_redis.url, shop_id)
    assert {user_id: reopened.profile(user_id) for user_id in before} == before
    assert before["ann"].dwells_s[-1] == 249 / 3
    reopened.append_events([EventRow("ann", "view", "tea", received_at_us=1_000, dwell_s=0.25)])
    assert reopened.profile("ann").dwells_s[-2:] == (249 / 3, 0.25)


def _to_first_schema(url: str, prefix: str) -> None:
    """Profiles as version 1 wrote them: item and type only."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        for profile in client.keys(f"{prefix}profile:*"):
            members = client.zrange(profile, 0, -1, withscores=True)
            client.delete(profile)
            client.zadd(profile, {body[:16] + json.dumps(json.loads(body[16:])[:2]): score for body, score in members})
        client.set(f"{prefix}schema", 1)
