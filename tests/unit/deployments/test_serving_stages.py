"""A stage that fails costs its part of the answer, never the answer; releases never mix."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from deployments.breaker import Breaker
from deployments.config import BreakerConfig
from deployments.messages import Missing
from deployments.patience import Patience
from deployments.releases import BundleWatcher
from deployments.selection import Selection
from deployments.served_log import ServedLog
from deployments.stages import StageClient, StageLost, StageStatus
from deployments.state.records import ServedRow
from deployments.telemetry import LocalTelemetry
from tests.serving_shop import Home, Serving, client_of, serve_in_process, wait_until

BODY = {"user_id": "u001", "limit": 5}


class Faulty:
    """A port whose stage does what the test wants."""

    def __init__(self, port: Any) -> None:
        self.port, self.calls = port, 0
        self.fault: Callable[[], Any] | None = None

    async def answer(self, query: Any) -> Any:
        self.calls += 1
        if self.fault is not None:
            return await self.fault()
        return await self.port.answer(query)

    async def status(self) -> StageStatus:
        if self.fault is not None:
            await self.fault()
        found: StageStatus = await self.port.status()
        return found


async def dies() -> None:
    raise StageLost("the replica is gone")


async def errs() -> None:
    raise KeyError("a bug in the stage")


async def hangs() -> None:
    await asyncio.sleep(60)


@pytest.fixture
def faulty(serving: Serving) -> dict[str, Faulty]:
    """Stages of `serving` that can be made to fail."""
    ports = {}
    for name, stage in serving.gateway.stages.items():
        ports[name] = stage.port = Faulty(stage.port)  # type: ignore[assignment]
    return ports


def test_ranking_out_is_retrieval_order(http: TestClient, faulty: dict[str, Faulty]) -> None:
    faulty["ranking"].fault = dies
    document = http.post("/v1/recommendations", json=BODY).json()
    assert document["degraded"] == ["ranking"]
    assert [model["role"] for model in document["models"]] == ["retriever"]
    assert len(document["items"]) == 5


def test_retrieval_out_is_popular_items(http: TestClient, faulty: dict[str, Faulty]) -> None:
    faulty["retrieval"].fault = dies
    for body in (BODY, {**BODY, "filter": "brand = 'b2'"}):
        document = http.post("/v1/recommendations", json=body).json()
        assert document["degraded"] == ["retrieval"]
        assert len(document["items"]) == 5
    similar = http.post("/v1/similar-items", json={"item_id": "i01", "limit": 3}).json()
    assert (similar["degraded"], len(similar["items"])) == (["retrieval"], 3)
    given = http.post("/v1/rankings", json={"user_id": "u", "item_ids": ["i01", "i02"]}).json()
    assert (given["degraded"], len(given["items"])) == (["retrieval"], 2)


def test_best_sellers_are_the_popular_ones_that_may_be_shown(serving: Serving) -> None:
    serving.gateway.watcher.poll()
    loaded, live = serving.gateway.serving(), serving.live
    live.store.upsert_items([{"item_id": "aaa", "brand": "b2"}, {"item_id": loaded.model.order[0], "stock": 0}])
    live.tail.catch_up()
    best = serving.gateway.slates.best_sellers
    selection = Selection.of(live, None)
    everything = [*loaded.model.order[1:], "aaa"]
    assert best.allowed(loaded.model, selection, 1000) == everything
    selection.exclude(everything[:3])
    assert best.allowed(loaded.model, selection, 5) == everything[3:8]
    of_brand = best.allowed(loaded.model, Selection.of(live, "brand = 'b2'"), 1000)
    assert of_brand == [item_id for item_id in everything if (live.view.item(item_id) or {}).get("brand") == "b2"]


def test_dead_stage_costs_nothing_after_the_first_call(http: TestClient, faulty: dict[str, Faulty]) -> None:
    faulty["ranking"].fault = dies
    for _ in range(5):
        http.post("/v1/recommendations", json=BODY)
    assert faulty["ranking"].calls == 1
    faulty["ranking"].fault = None
    wait_until(lambda: http.post("/v1/recommendations", json=BODY).json()["degraded"] == [])


def test_a_stage_that_answers_with_an_error_is_not_dead(http: TestClient, faulty: dict[str, Faulty]) -> None:
    faulty["ranking"].fault = errs
    documents = [http.post("/v1/recommendations", json=BODY).json() for _ in range(5)]
    assert {tuple(document["degraded"]) for document in documents} == {("ranking",)}
    assert faulty["ranking"].calls == 3


def test_slow_stage_keeps_the_deadline(http: TestClient, faulty: dict[str, Faulty]) -> None:
    faulty["retrieval"].fault = hangs
    document = http.post("/v1/recommendations", json=BODY, headers={"X-Timeout-Ms": "100"}).json()
    assert document["degraded"] == ["retrieval"]
    assert document["took_ms"] < 1000


def test_a_caller_in_a_hurry_costs_the_others_nothing(
    http: TestClient, serving: Serving, faulty: dict[str, Faulty]
) -> None:
    faulty["retrieval"].fault = hangs
    for _ in range(5):
        hurried = http.post("/v1/recommendations", json=BODY, headers={"X-Timeout-Ms": "20"})
        assert hurried.json()["degraded"][0] in ("profile", "retrieval")
    faulty["retrieval"].fault = None
    assert not serving.gateway.stages["retrieval"].breaker.is_open
    assert http.post("/v1/recommendations", json=BODY).json()["degraded"] == []


def test_replica_without_the_bundle_is_no_error(http: TestClient, faulty: dict[str, Faulty]) -> None:
    async def lacks() -> Missing:
        return Missing("?")

    faulty["ranking"].fault = lacks
    document = http.post("/v1/recommendations", json=BODY).json()
    assert document["degraded"] == ["retrieval"]
    assert len(document["items"]) == 5


def test_breaker_opens_after_failures_in_a_row() -> None:
    breaker = Breaker(failures_to_open=3)
    breaker.failed()
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    breaker.failed()
    assert not breaker.is_open
    breaker.failed()
    assert breaker.is_open
    breaker.succeeded()
    breaker.gone()
    assert breaker.is_open


def test_next_release_is_served_once_every_stage_holds_it(home: Home, serving: Serving) -> None:
    with client_of(serving) as http:
        first = http.get("/v1/models").json()
        second = home.publish()
        wait_until(lambda: serving.gateway.watcher.pending is not None)
        assert http.get("/v1/models").json() == first
        serving.load_champion()
        wait_until(lambda: http.get("/v1/models").json() != first)
        document = http.post("/v1/recommendations", json=BODY).json()
        assert {model["version"] for model in document["models"]} == {second.version}
        assert document["degraded"] == []
        home.registry.rollback("recommender")
        serving.load_champion()
        old = first["models"][0]["version"]
        wait_until(lambda: http.get("/v1/models").json()["models"][0]["version"] == old)


def test_replica_that_lags_answers_with_the_previous_release(home: Home, serving: Serving) -> None:
    with client_of(serving) as http:
        old = http.get("/v1/models").json()["models"][0]["version"]
        home.publish()
        serving.gateway.watcher.poll()
        document = http.post("/v1/recommendations", json=BODY).json()
        assert {model["version"] for model in document["models"]} == {old}
        assert document["degraded"] == []


def test_corrupt_bundle_leaves_the_old_one_serving(home: Home, serving: Serving) -> None:
    with client_of(serving) as http:
        before = http.get("/v1/models").json()["release"]
        manifest = home.publish()
        broken = home.root / "bundles" / manifest.shop_id / manifest.job / manifest.version / "ranking.json"
        broken.write_text(broken.read_text() + " ")
        serving.load_champion()
        wait_until(lambda: serving.gateway.watcher.problem is not None)
        document = http.get("/readyz").json()
        assert document["release"] == before
        assert "ranking.json" in document["deployments"][0]["problem"]
        assert http.post("/v1/recommendations", json=BODY).json()["degraded"] == []


def test_missing_bundle_is_tried_again_and_the_one_before_served(home: Home) -> None:
    now_s = 0.0
    (before,) = home.bundles.versions(home.registry.shop_id, "recommender")
    watcher = BundleWatcher(
        registry=home.registry, bundles=home.bundles, job="recommender", load=lambda *_: "model", clock=lambda: now_s
    )
    manifest = home.publish()
    folder = home.root / "bundles" / manifest.shop_id / manifest.job / manifest.version
    shutil.move(folder, home.root / "away")
    watcher.poll()
    assert watcher.current is not None
    assert watcher.current.version == before
    assert manifest.version in (watcher.problem or "")
    shutil.move(home.root / "away", folder)
    watcher.poll()
    assert watcher.current.version == before
    now_s = 60.0
    watcher.poll()
    assert (watcher.current.version, watcher.problem) == (manifest.version, None)


def test_served_log_drops_the_oldest_and_counts_them() -> None:
    written: list[ServedRow] = []
    telemetry = LocalTelemetry()

    def write(rows: Sequence[ServedRow]) -> None:
        written.extend(rows)

    async def put() -> None:
        log = ServedLog(write, size=3, executor=None, telemetry=telemetry)  # type: ignore[arg-type]
        for number in range(5):
            log.put(ServedRow(recommendation_id=str(number), user_id="u", as_of_us=0, slate=()))
        await log.flush()

    asyncio.run(put())
    assert [row.recommendation_id for row in written] == ["2", "3", "4"]
    assert b"shopkeeper_served_log_dropped_total 2.0" in telemetry.text()


def test_new_item_reaches_a_loaded_bundle_and_a_later_one(home: Home, tmp_path: Path) -> None:
    del tmp_path
    serving = serve_in_process(home.config())
    serving.load_champion()
    serving.live.store.upsert_items([{"item_id": "new", "title": "Thing 3", "brand": "b3", "category": ["all", "c3"]}])
    serving.live.tail.catch_up()
    serving.load_champion()
    home.publish()
    serving.load_champion()
    for loaded in serving.hosts["retrieval"].held():
        assert loaded.model.recommender.slot("new") is not None  # type: ignore[attr-defined]
    serving.live.close()


def test_whoever_waits_for_a_lost_stage_waits_no_longer() -> None:
    class Port:
        async def answer(self, query: str) -> str:
            await asyncio.sleep(60 if query == "slow" else 0)
            raise StageLost

        async def status(self) -> StageStatus:
            return StageStatus(up=True)

    async def ask() -> None:
        stage = StageClient("any", Port(), config=BreakerConfig(), telemetry=LocalTelemetry())
        async with asyncio.timeout(5):
            answers = await asyncio.gather(*(stage.ask(query, timeout_s=60) for query in ("slow", "slow", "fast")))
            assert answers == [None, None, None]
            assert stage.breaker.is_open
            while stage.breaker.is_open:
                await asyncio.sleep(0.01)

    asyncio.run(ask())


def test_patience_follows_what_is_usual() -> None:
    patience = Patience(floor_s=0.1)
    assert patience.wait_s(0.8) == 0.8
    for _ in range(50):
        patience.answered(0.01)
    assert patience.wait_s(0.8) == 0.1
    for _ in range(50):
        patience.answered(0.1)
    assert 0.2 <= patience.wait_s(0.8) < 0.3
    patience.answered(0.2)
    before = patience.wait_s(10)
    patience.timed_out()
    assert patience.wait_s(10) > before
