"""A stage as the gateway sees it: asked within a time, given up while it is down, looked after in the background."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from deployments.breaker import Breaker
from deployments.config import BreakerConfig
from deployments.messages import Missing
from deployments.patience import Patience
from deployments.room import Room
from deployments.telemetry import Telemetry

LOGGER = logging.getLogger("shopkeeper.stages")


class StageStatus(NamedTuple):
    """Bundle versions in memory, the current one first, and what is wrong with the next one."""

    versions: tuple[str, ...] = ()
    problem: str | None = None
    up: bool = False


class StageLost(Exception):
    """The stage's process died or cannot be reached."""


class StageFull(Exception):
    """As many wait for the stage already as it answers in time."""


class Port(Protocol):
    """The way to a stage's replicas: a Serve handle, or the stage itself in this process."""

    async def answer(self, query: Any) -> Any:
        """The stage's answer; raises StageLost where it is down, anything else where it failed."""

    async def status(self) -> StageStatus:
        """What the replica asked holds; raises where the stage is down."""


class Answering(Protocol):
    """A stage that answers in this process."""

    def answer(self, queries: Sequence[Any]) -> list[Any]: ...

    def status(self) -> StageStatus: ...


@dataclass(frozen=True)
class InProcess:
    """A stage without Serve: its calls run in a thread."""

    stage: Answering

    async def answer(self, query: Any) -> Any:
        return (await asyncio.to_thread(self.stage.answer, [query]))[0]

    async def status(self) -> StageStatus:
        return self.stage.status()


class StageClient:
    """Asks one stage, with learned patience and a circuit breaker; `jobs` are those whose bundles it opens.

    `most_waiting`: the stage's work is heavy, so that no more are let in than it answers in time, and never more than
    these.
    """

    def __init__(
        self,
        name: str,
        port: Port,
        *,
        config: BreakerConfig,
        telemetry: Telemetry,
        jobs: tuple[str, ...] = (),
        most_waiting: int | None = None,
    ) -> None:
        self.name, self.port, self.config, self.telemetry, self.jobs = name, port, config, telemetry, jobs
        self.room = None if most_waiting is None else Room(most=most_waiting)
        self.breaker = Breaker(failures_to_open=config.failures_to_open)
        self.patience = Patience(floor_s=config.patience_floor_s)
        self._probe: asyncio.Task[None] | None = None
        self._waiting: set[asyncio.Timeout] = set()

    async def ask(self, query: Any, *, timeout_s: float) -> Any | None:
        """The answer, `Missing` where the replica lacks the bundle, None where the stage is out.

        Raises StageFull where it could only be too late. A caller in a hurry goes without; only a stage that got a fair
        time and did not answer counts as failing.
        """
        if self.breaker.is_open:
            return None
        if self.room is None:
            return await self._ask(query, timeout_s)
        return await self._ask_in_turn(self.room, query, timeout_s)

    async def _ask_in_turn(self, room: Room, query: Any, timeout_s: float) -> Any | None:
        came_s = time.monotonic()
        if not await room.enter(timeout_s):
            self.telemetry.count("stage_failures", stage=self.name, cause="full")
            raise StageFull(f"{self.name.replace('_', ' ')} is asked for more than it can do; try again in a moment")
        behind, entered_s, answer = room.inside, time.monotonic(), None
        try:
            left_s = timeout_s - (entered_s - came_s)
            answer = None if self.breaker.is_open else await self._ask(query, left_s)
        finally:
            took_s = time.monotonic() - entered_s
            room.leave(behind=behind, took_s=took_s, answered=answered(answer))
        return answer

    async def _ask(self, query: Any, timeout_s: float) -> Any | None:
        started_s, wait_s = time.perf_counter(), self.patience.wait_s(timeout_s)
        try:
            answer = await self._patiently(query, wait_s)
        except TimeoutError:
            hurried = wait_s < self.patience.wait_s(self.config.fair_wait_s)
            if not hurried and not self.breaker.is_open:
                self.patience.timed_out()
                self._note("timeout", self.breaker.failed)
            return None
        except StageLost:
            self._note("lost", self.breaker.gone)
            return None
        except Exception as error:
            # Any failure of a stage costs its part of the answer, never the answer.
            LOGGER.warning("stage %s failed", self.name, exc_info=error)
            self._note(type(error).__name__, self.breaker.failed)
            return None
        took_s = time.perf_counter() - started_s
        self.breaker.succeeded()
        self.patience.answered(took_s)
        self.telemetry.observe("stage_seconds", took_s, stage=self.name)
        return answer

    async def status(self) -> StageStatus:
        """What the stage holds; nothing, and not up, where it does not answer."""
        try:
            async with asyncio.timeout(self.config.probe_timeout_s):
                return await self.port.status()
        except Exception:
            return StageStatus()

    async def _patiently(self, query: Any, timeout_s: float) -> Any:
        """The stage's answer; raises TimeoutError after the time given, or when the stage is lost meanwhile."""
        async with asyncio.timeout(timeout_s) as wait:
            self._waiting.add(wait)
            try:
                return await self.port.answer(query)
            finally:
                self._waiting.discard(wait)

    def _note(self, cause: str, opens: Any) -> None:
        self.telemetry.count("stage_failures", stage=self.name, cause=cause)
        opens()
        if self.breaker.is_open:
            self.telemetry.set("breaker_open", 1, stage=self.name)
            self._give_up_waiting()
            if self._probe is None or self._probe.done():
                self._probe = asyncio.create_task(self._look_after())

    def _give_up_waiting(self) -> None:
        """Whoever still waits for the stage that was just lost need not wait any longer."""
        now_s = asyncio.get_running_loop().time()
        for wait in self._waiting:
            if not wait.expired():
                wait.reschedule(now_s)

    async def _look_after(self) -> None:
        """Probe until the stage answers; clients go without it meanwhile."""
        while self.breaker.is_open:
            await asyncio.sleep(self.config.probe_period_s)
            if (await self.status()).up:
                self.breaker.succeeded()
        self.telemetry.set("breaker_open", 0, stage=self.name)


def answered(answer: Any | None) -> bool:
    """Whether a stage gave something to work with."""
    return answer is not None and not isinstance(answer, Missing)
