"""How many are let in to a stage whose work is heavy: as many as it answers in time, and the others hear so at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.config import BreakerConfig
from deployments.messages import Missing
from deployments.room import AT_ONCE_S, FIRST, LEAST, Room
from deployments.stages import StageClient, StageFull, StageLost, StageStatus
from deployments.telemetry import LocalTelemetry

MOST = 32
PATIENT = BreakerConfig(patience_floor_s=30.0, fair_wait_s=5.0)


def learnt(each_s: float, *, most: int = MOST) -> Room:
    room = Room(most=most)
    teach(room, each_s)
    return room


def teach(room: Room, each_s: float, *, answered: bool = True, times: int = 200) -> None:
    """What several tell that are inside one at a time."""
    for _ in range(times):
        room.inside += 1
        room.leave(behind=1, took_s=each_s, answered=answered)


async def settled(*waits: Coroutine[Any, Any, bool]) -> list[asyncio.Task[bool]]:
    """Tasks that have come as far as they come without time going by."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def let_in(room: Room, timeout_s: float, *, of: int = 2 * MOST) -> tuple[int, int, int]:
    """How many of so many that come together are inside, wait, and are refused."""
    tasks = await settled(*(room.enter(timeout_s) for _ in range(of)))
    done = [task.result() for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return sum(done), len(tasks) - len(done), len(done) - sum(done)


def test_before_anything_is_learnt_a_few_are_let_in() -> None:
    assert asyncio.run(let_in(Room(most=MOST), 1.0)) == (FIRST, 0, 2 * MOST - FIRST)


def test_who_has_more_time_may_wait_longer() -> None:
    each_s = 0.05
    inside = int(AT_ONCE_S / each_s)
    assert asyncio.run(let_in(learnt(each_s), 1.01)) == (inside, 14 - inside, 2 * MOST - 14)
    assert asyncio.run(let_in(learnt(each_s), 60.0)) == (inside, MOST - inside, MOST)


def test_who_has_less_time_comes_first() -> None:
    async def entered() -> list[str]:
        room, order = learnt(0.1), list[str]()

        async def come(name: str, timeout_s: float) -> None:
            assert await room.enter(timeout_s)
            order.append(name)

        for _ in range(room.at_once):
            assert await room.enter(1.0)
        patient = [asyncio.create_task(come("patient", 30.0)) for _ in range(20)]
        await asyncio.sleep(0)
        hurried = asyncio.create_task(come("hurried", 1.0))
        await asyncio.sleep(0)
        for _ in range(3):
            room.leave(behind=1, took_s=0.1, answered=True)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        for task in (*patient, hurried):
            task.cancel()
        return order

    assert asyncio.run(entered())[0] == "hurried"


def test_whoever_stops_waiting_leaves_no_gap() -> None:
    async def come_and_go() -> None:
        room = learnt(0.1, most=8)
        for _ in range(room.at_once):
            assert await room.enter(1.0)
        first, second = await settled(room.enter(30.0), room.enter(30.0))
        room.leave(behind=1, took_s=0.1, answered=True)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert await asyncio.wait_for(second, 1)
        assert room.waiting == 0
        assert room.inside == room.at_once

    asyncio.run(come_and_go())


def test_whoever_waits_in_vain_hears_so_when_the_time_is_over() -> None:
    async def wait() -> None:
        room = learnt(0.01, most=MOST)
        room.inside = room.at_once
        assert not await room.enter(0.5)
        assert room.waiting == 0

    asyncio.run(wait())


def test_a_wait_in_a_queue_says_what_each_takes() -> None:
    alone, queued = learnt(0.1), Room(most=MOST)
    for _ in range(200):
        queued.inside += 1
        queued.leave(behind=5, took_s=0.5, answered=True)
    assert queued.each_s == pytest.approx(alone.each_s)


def test_it_never_closes_and_opens_again() -> None:
    room = learnt(30.0)
    assert asyncio.run(let_in(room, 1.0))[0] == LEAST
    room.inside = 0
    teach(room, 0.001)
    assert asyncio.run(let_in(room, 1.0))[0] == MOST


def test_one_heavy_question_does_not_shut_out_the_light_ones() -> None:
    room = learnt(0.02)
    before = room.at_once
    teach(room, 20.0, times=1)
    assert room.at_once > before // 2


def test_who_gave_up_early_teaches_nothing() -> None:
    room = learnt(0.1)
    teach(room, 0.001, answered=False)
    assert room.each_s == pytest.approx(0.1)
    teach(room, 0.5, answered=False)
    assert room.each_s == pytest.approx(0.5, abs=0.01)


@given(st.lists(st.sampled_from(["enter", "cancel", True, False]), max_size=60), st.integers(1, 12),
       st.floats(0.01, 60.0), st.floats(1e-4, 10.0))  # fmt: skip
def test_it_is_always_within_its_bounds(steps: list[Any], most: int, timeout_s: float, each_s: float) -> None:
    async def live() -> None:
        room, tasks = learnt(each_s, most=most), list[asyncio.Task[bool]]()
        for step in steps:
            inside = [task for task in tasks if task.done() and not task.cancelled() and task.result()]
            if step == "enter":
                tasks += await settled(room.enter(timeout_s))
            elif step == "cancel":
                for task in [task for task in tasks if not task.done()][:1]:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
            elif inside:
                tasks.remove(inside[0])
                room.leave(behind=max(room.inside, 1), took_s=each_s, answered=step)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            inside = [task for task in tasks if task.done() and not task.cancelled() and task.result()]
            assert room.inside == len(inside)
            assert room.inside + room.waiting <= most
            assert not room.waiting or room.inside >= room.at_once
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(live())


class SlowPort:
    """One question after the other, each for `each_s`, also for those who have gone, unless they say so."""

    def __init__(self, each_s: float) -> None:
        self.each_s, self.begun, self.queued, self._turn = each_s, 0, 0, asyncio.Lock()

    async def answer(self, query: str) -> str:
        self.queued += 1
        try:
            async with self._turn:
                self.begun += 1
                await asyncio.sleep(self.each_s)
        finally:
            self.queued -= 1
        return query

    async def status(self) -> StageStatus:
        return StageStatus(up=True)


async def crowd(stage: StageClient, clients: int, *, timeout_s: float, until_s: float) -> int:
    """Answers to clients that ask again and again, each alone."""
    found = 0

    async def client() -> None:
        nonlocal found
        while time.monotonic() < until_s:
            try:
                answer = await stage.ask("photo", timeout_s=timeout_s)
                found += answer == "photo"
            except StageFull:
                await asyncio.sleep(0.02)

    await asyncio.gather(*(client() for _ in range(clients)))
    return found


def slow_stage(each_s: float, *, most: int = 128) -> tuple[SlowPort, StageClient]:
    port = SlowPort(each_s)
    return port, StageClient("visual_search", port, config=PATIENT, telemetry=LocalTelemetry(), most_waiting=most)


def test_under_a_crowd_most_of_what_can_be_done_is_done_in_time() -> None:
    """32 clients that ask again and again are four times what can be answered within the time they give."""

    async def share() -> float:
        port, stage = slow_stage(0.05)
        await crowd(stage, 32, timeout_s=0.4, until_s=time.monotonic() + 1.0)
        before = port.begun
        answers = await crowd(stage, 32, timeout_s=0.4, until_s=time.monotonic() + 2.0)
        return answers / (port.begun - before)

    assert asyncio.run(share()) > 0.7


def test_patient_clients_do_not_shut_out_the_others() -> None:
    async def answers() -> tuple[int, int]:
        _, stage = slow_stage(0.01)
        until_s = time.monotonic() + 2.0
        found = await asyncio.gather(
            crowd(stage, 32, timeout_s=5.0, until_s=until_s), crowd(stage, 1, timeout_s=0.5, until_s=until_s)
        )
        return found[0], found[1]

    patient, hurried = asyncio.run(answers())
    assert patient > 20
    assert hurried >= 3


def test_hopeless_deadlines_fill_no_queue() -> None:
    async def watch() -> tuple[int, int]:
        port, stage = slow_stage(0.05)
        until_s = time.monotonic() + 1.5
        hopeless = asyncio.create_task(crowd(stage, 4, timeout_s=0.01, until_s=until_s))
        answers = await crowd(stage, 2, timeout_s=0.9, until_s=until_s)
        await hopeless
        return port.queued, answers

    queued, answers = asyncio.run(watch())
    assert queued == 0
    assert answers >= 5


def test_who_is_not_let_in_hears_so_at_once() -> None:
    async def ask() -> None:
        _, stage = slow_stage(60, most=1)
        first = asyncio.create_task(stage.ask("photo", timeout_s=60))
        await asyncio.sleep(0)
        with pytest.raises(StageFull, match="visual search is asked for more than it can do"):
            await stage.ask("photo", timeout_s=60)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert stage.room is not None
        assert stage.room.inside == 0

    asyncio.run(ask())


def test_who_waits_for_a_stage_that_is_lost_waits_no_longer() -> None:
    class Lost(SlowPort):
        async def answer(self, _: str) -> str:
            await asyncio.sleep(0.05)
            raise StageLost

    async def ask() -> None:
        stage = StageClient("any", Lost(0), config=PATIENT, telemetry=LocalTelemetry(), most_waiting=64)
        assert stage.room is not None
        teach(stage.room, 0.2)
        async with asyncio.timeout(5):
            assert await asyncio.gather(*(stage.ask("photo", timeout_s=60) for _ in range(20))) == [None] * 20

    asyncio.run(ask())


def test_an_answer_that_brought_nothing_teaches_nothing() -> None:
    class Lacking(SlowPort):
        async def answer(self, _: str) -> Any:
            return Missing("v1")

    async def ask() -> None:
        stage = StageClient("any", Lacking(0), config=PATIENT, telemetry=LocalTelemetry(), most_waiting=64)
        assert stage.room is not None
        teach(stage.room, 0.2)
        assert isinstance(await stage.ask("photo", timeout_s=60), Missing)
        assert stage.room.each_s == pytest.approx(0.2)

    asyncio.run(ask())
