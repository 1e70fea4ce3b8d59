"""How many are let in to a stage whose work is heavy: as many as it answers in time, and the others hear so at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.config import BreakerConfig
from deployments.room import FIRST, LEAST, Room
from deployments.stages import StageClient, StageFull, StageStatus
from deployments.telemetry import LocalTelemetry

MOST = 32


def filled(room: Room, timeout_s: float) -> int:
    """How many are let in."""
    entered = 0
    while room.enter(timeout_s):
        entered += 1
    return entered


def learnt(room: Room, *, each_s: float, answered: bool = True, times: int = 100) -> None:
    """What several teach that are inside one at a time."""
    for _ in range(times):
        assert room.enter(60.0)
        room.leave(behind=1, took_s=each_s, answered=answered)


def test_before_anything_is_learnt_a_few_are_let_in() -> None:
    assert filled(Room(most=MOST), 1.0) == FIRST


def test_who_has_more_time_finds_more_room() -> None:
    room = Room(most=MOST)
    learnt(room, each_s=0.05)
    assert filled(room, 1.01) == 14
    assert filled(room, 2.01) == 28 - 14
    assert filled(room, 60.0) == MOST - 28


def test_a_wait_in_a_queue_says_what_each_takes() -> None:
    alone, queued = Room(most=MOST), Room(most=MOST)
    learnt(alone, each_s=0.1)
    for _ in range(100):
        assert queued.enter(60.0)
        queued.leave(behind=5, took_s=0.5, answered=True)
    assert queued.each_s == pytest.approx(alone.each_s)


def test_it_never_closes_and_opens_again() -> None:
    room = Room(most=MOST)
    learnt(room, each_s=30.0)
    assert filled(room, 1.0) == LEAST
    room.inside = 0
    learnt(room, each_s=0.01)
    assert filled(room, 1.0) == MOST


def test_who_gave_up_early_teaches_nothing() -> None:
    room = Room(most=MOST)
    learnt(room, each_s=0.1)
    learnt(room, each_s=0.001, answered=False)
    assert room.each_s == pytest.approx(0.1)
    learnt(room, each_s=0.5, answered=False)
    assert room.each_s == pytest.approx(0.5, abs=0.01)


@given(st.lists(st.sampled_from(["enter", True, False]), max_size=200), st.integers(1, 64), st.floats(1e-4, 60.0))
def test_it_is_always_within_its_bounds(steps: list[Any], most: int, timeout_s: float) -> None:
    room = Room(most=most)
    for step in steps:
        if step == "enter":
            room.enter(timeout_s)
        elif room.inside:
            room.leave(behind=room.inside, took_s=timeout_s, answered=step)
        assert 0 <= room.inside <= most
    room.inside = 0
    assert room.enter(timeout_s)


class SlowPort:
    """One question after the other, each for `each_s`; counts those it has begun."""

    def __init__(self, each_s: float) -> None:
        self.each_s, self.begun, self._turn = each_s, 0, asyncio.Lock()

    async def answer(self, query: str) -> str:
        async with self._turn:
            self.begun += 1
            await asyncio.sleep(self.each_s)
        return query

    async def status(self) -> StageStatus:
        return StageStatus(up=True)


def test_under_a_crowd_most_of_what_can_be_done_is_done_in_time() -> None:
    """32 clients that ask again and again are four times what can be answered within the time they give."""

    async def answered() -> tuple[int, int, int]:
        port = SlowPort(0.05)
        config = BreakerConfig(patience_floor_s=30.0, fair_wait_s=5.0)
        stage = StageClient("any", port, config=config, telemetry=LocalTelemetry(), most_waiting=128)
        found = {"answered": 0, "full": 0}
        learnt_s = asyncio.get_running_loop().time() + 1.0
        ends_s = learnt_s + 1.0

        async def client() -> None:
            while asyncio.get_running_loop().time() < ends_s:
                try:
                    answer = await stage.ask("photo", timeout_s=0.4)
                    found["answered"] += answer == "photo"
                except StageFull:
                    found["full"] += 1
                    await asyncio.sleep(0.02)

        clients = asyncio.gather(*(client() for _ in range(32)))
        await asyncio.sleep(learnt_s - asyncio.get_running_loop().time())
        before = found["answered"], port.begun
        await clients
        return found["answered"] - before[0], found["full"], port.begun - before[1]

    count, full, begun = asyncio.run(answered())
    assert full > 0
    assert count > 0.9 * begun


def test_who_is_not_let_in_hears_so_at_once() -> None:
    async def ask() -> None:
        stage = StageClient(
            "visual_search", SlowPort(60), config=BreakerConfig(), telemetry=LocalTelemetry(), most_waiting=1
        )
        first = asyncio.create_task(stage.ask("photo", timeout_s=60))
        await asyncio.sleep(0)
        with pytest.raises(StageFull, match="visual search is asked for more than it can do"):
            await stage.ask("photo", timeout_s=60)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert stage.room is not None
        assert stage.room.inside == 0

    asyncio.run(ask())
