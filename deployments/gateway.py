"""The gateway: the store behind the door, the release in front, and the stages it asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

from deployments.companions import FORECASTER, JOBS, LOGISTIC, RANKER, VISION
from deployments.config import ServingConfig
from deployments.front import Front
from deployments.live import LiveShop
from deployments.middleware.problems import HttpProblem, unknown_item
from deployments.photo_counter import VISUAL_SEARCH, PhotoCounter
from deployments.planner import FORECASTING, Planner
from deployments.policies.filters import FilterError
from deployments.popular import Popular
from deployments.releases import BundleWatcher, Loaded
from deployments.selection import Selection
from deployments.served_log import ServedLog
from deployments.slates import SlateMaker
from deployments.stages import StageClient, StageStatus
from deployments.state.clock import ShopClock, from_us, wall_now_us
from deployments.state.events import EventRow, Outcome
from deployments.state.records import Row, Upserted
from deployments.telemetry import Telemetry
from training.bundles.manifest import Manifest

T = TypeVar("T")
STATUS_PERIOD_S = 2.0


class Gateway:
    """Everything the routes need, without HTTP and without Ray."""

    def __init__(
        self,
        *,
        config: ServingConfig,
        live: LiveShop,
        clock: ShopClock,
        repeats: bool,
        zone: str,
        watcher: BundleWatcher[Popular],
        vision: BundleWatcher[None],
        forecaster: BundleWatcher[None],
        stages: dict[str, StageClient],
        telemetry: Telemetry,
    ) -> None:
        self.config, self.live, self.store, self.clock = config, live, live.store, clock
        self.repeats, self.zone = repeats, zone
        self.watcher, self.stages, self.telemetry = watcher, stages, telemetry
        self.threads = ThreadPoolExecutor(config.request.store_threads, thread_name_prefix="store")
        self.log = ServedLog(
            self.store.log_recommendations,
            size=config.request.served_log_queue,
            executor=self.threads,
            telemetry=telemetry,
        )
        self.recommender = Front(watcher, list(stages.values()), what="recommender")
        self.vision = Front(vision, [stages[VISUAL_SEARCH]], what="visual search")
        self.forecaster = Front(forecaster, [stages[FORECASTING]], what="forecaster")
        self.fronts: tuple[Front[Any], ...] = (self.recommender, self.vision, self.forecaster)
        self.slates = SlateMaker(self, config=config.request, stages=stages)
        self.photos = PhotoCounter(self, stages[VISUAL_SEARCH], config=config.request)
        self.planner = Planner(self, stages[FORECASTING], config=config.request)
        self.stage_status: dict[str, StageStatus] = {}
        self._asked_at_s = -STATUS_PERIOD_S

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follows the champion until the block ends; then writes what is left to log."""
        follower = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            follower.cancel()
            await self.log.flush()
            self.threads.shutdown(wait=False)

    async def in_store(self, call: Callable[..., T], *arguments: Any) -> T:
        """A call of the store in one of its threads."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, partial(call, *arguments))

    # Releases

    async def _follow(self) -> None:
        while True:
            await self.follow_once()
            await asyncio.sleep(self.config.watch_period_s)

    async def follow_once(self) -> None:
        """Take up a new champion once every stage holds its bundle."""
        for front in self.fronts:
            await asyncio.to_thread(front.watcher.prepare)
        now_s = time.monotonic()
        if any(front.waits for front in self.fronts) or now_s - self._asked_at_s > STATUS_PERIOD_S:
            await self._ask_status()
        for front in self.fronts:
            if front.take_up(self.stage_status, now_s):
                self.telemetry.count("release_swaps")

    async def _ask_status(self) -> None:
        self._asked_at_s = time.monotonic()
        statuses = await asyncio.gather(*(stage.status() for stage in self.stages.values()))
        self.stage_status = dict(zip(self.stages, statuses, strict=True))

    def serving(self) -> Loaded[Popular]:
        """What recommendations are made from now; raises 503 with the command that would train it."""
        return self.recommender.serving()

    def releases(self) -> list[Loaded[Popular]]:
        """The current release, and the one before for replicas that have not caught up."""
        return self.recommender.releases()

    def not_ready(self) -> str:
        return self.recommender.not_ready()

    def status(self) -> dict[str, Any]:
        """What /readyz says."""
        current = self.watcher.current
        state, version = ("serving", current.version) if current else ("empty", None)
        releases = [front.watcher.current.release for front in self.fronts if front.watcher.current is not None]
        return {
            "ready": current is not None,
            "missing": [job for job in JOBS if not self._is_served(job)],
            "release": releases[0] if releases else None,
            "deployments": [
                _status("gateway", state, version, self.watcher.problem or self.live.problem()),
                *(self._stage_status(name) for name in self.stages),
            ],
        }

    def _is_served(self, job: str) -> bool:
        own = {VISION: self.vision, FORECASTER: self.forecaster}.get(job, self.recommender)
        current = own.watcher.current
        return current is not None and job in current.jobs

    def _stage_status(self, name: str) -> dict[str, Any]:
        status, stage = self.stage_status.get(name, StageStatus()), self.stages[name]
        down = stage.breaker.is_open or not status.up
        state = "down" if down else "serving" if status.versions else "empty"
        return _status(name, state, self._served_version(stage, status), self._stage_problem(stage, status))

    def _served_version(self, stage: StageClient, status: StageStatus) -> str | None:
        """Of the bundle that the stage answers from in the current release, as far as it holds it."""
        served = {job: version for front in self.fronts for job, version in front.versions().items()}
        wanted = [served.get(job) for job in reversed(stage.jobs)]
        return next((version for version in (*wanted, *status.versions) if version in status.versions), None)

    def _stage_problem(self, stage: StageClient, status: StageStatus) -> str | None:
        current = self.watcher.current
        unused = current.companions.unused if current else {}
        said = [status.problem, *(why for job, why in unused.items() if job in stage.jobs)]
        return "; ".join(problem for problem in said if problem) or None

    def models(self) -> dict[str, Any]:
        """What GET /v1/models says."""
        named = {}
        if (current := self.watcher.current) is not None:
            ranker = current.companions.used.get(RANKER)
            named["retriever"] = (current.manifest.model, current.manifest)
            named["ranker"] = (ranker.model if ranker else LOGISTIC, ranker or current.manifest)
        if (vision := self.vision.watcher.current) is not None:
            named["visual_search"] = (vision.manifest.model, vision.manifest)
        if (forecaster := self.forecaster.watcher.current) is not None:
            named["forecaster"] = (forecaster.manifest.model, forecaster.manifest)
        newest = current or vision or forecaster
        return {
            "release": newest.release if newest else None,
            "models": [{"role": role, "name": name, **_model(manifest)} for role, (name, manifest) in named.items()],
        }

    # The shop's state

    def latest_time(self) -> datetime:
        """The later of the shop's now and the world's."""
        return from_us(max(self.clock.now_us(), wall_now_us()))

    async def take_events(self, rows: Sequence[EventRow]) -> list[Outcome]:
        """Durable once this returns; unknown items are accepted and counted."""
        if not rows:
            return []
        unknown = sum(row.item_id is not None and row.item_id not in self.live.view for row in rows)
        counts = {"unknown_items": unknown} if unknown else None
        append = partial(self.store.append_events, rows, counts=counts, shift_us=self.clock.shift_us)
        outcomes = await self.in_store(append)
        for outcome in Outcome:
            if outcome is not Outcome.CONFLICT:
                self.telemetry.count("events", outcomes.count(outcome), outcome=outcome.value)
        self.telemetry.count("unknown_items", unknown, route="/v1/events")
        return outcomes

    async def upsert_items(self, patches: Sequence[Row]) -> list[Upserted]:
        """In this gateway's catalogue too once this returns."""
        if not patches:
            return []
        outcomes = await self.in_store(self.store.upsert_items, patches)
        await self.in_store(self.live.tail.catch_up)
        return outcomes

    async def delete_item(self, item_id: str) -> bool:
        deleted = await self.in_store(self.store.delete_item, item_id)
        await self.in_store(self.live.tail.catch_up)
        return deleted

    async def merge_users(self, user_id: str, anonymous_id: str) -> None:
        await self.in_store(partial(self.store.merge_users, user_id, anonymous_id, now_us=self.clock.now_us()))

    async def select(self, filter_text: str | None) -> Selection:
        """What may be shown now; raises 422 naming what is wrong with the filter."""
        try:
            if filter_text is None or self.live.view.holds_mask(filter_text):
                return Selection.of(self.live, filter_text)
            return await asyncio.to_thread(Selection.of, self.live, filter_text)
        except FilterError as error:
            raise _filter_problem(error) from None

    def require_item(self, item_id: str) -> None:
        """Raises 404 for an item that the catalogue lacks."""
        if item_id not in self.live.view:
            raise unknown_item(item_id)


def _model(manifest: Manifest) -> dict[str, Any]:
    return {
        "version": manifest.version, "metrics": manifest.metrics, "baselines": manifest.baselines,
        "trained_at": manifest.created_at.isoformat(),
    }  # fmt: skip


def _status(name: str, status: str, version: str | None, problem: str | None) -> dict[str, Any]:
    return {"name": name, "status": status, "version": version, "problem": problem}


def _filter_problem(error: FilterError) -> HttpProblem:
    (problem,) = error.problems
    said = {**problem.as_dict(), "field": "filter", "item_field": error.field, "offset": error.offset}
    errors = [{name: value for name, value in said.items() if value is not None and name != "severity"}]
    return HttpProblem(HTTPStatus.UNPROCESSABLE_ENTITY, f"filter, at offset {error.offset}: {error}", errors=errors)
