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


def filled(room: Room) -> int:
    """How many are let in."""
    entered = 0
    while room.enter():
        entered += 1
    return entered


def emptied(room: Room, *, entered_s: float, now_s: float, late: bool | None) -> None:
    while room.inside:
        room.leave(entered_s=entered_s, now_s=now_s, late=late)


def test_what_comes_in_time_makes_room_up_to_the_most() -> None:
    room = Room(most=MOST)
    assert filled(room) == FIRST
    for now_s in range(200):
        emptied(room, entered_s=now_s, now_s=now_s + 1, late=False)
        filled(room)
    assert room.inside == MOST


def test_those_who_were_late_together_count_once() -> None:
    room = Room(most=MOST)
    filled(room)
    emptied(room, entered_s=0.0, now_s=1.0, late=True)
    assert FIRST / 2 < room.size < FIRST


def test_it_never_closes() -> None:
    room = Room(most=MOST)
    for now_s in range(100):
        filled(room)
        emptied(room, entered_s=now_s, now_s=now_s + 0.5, late=True)
    assert filled(room) == LEAST


def test_a_quiet_time_teaches_nothing() -> None:
    room = Room(most=MOST)
    for now_s in range(100):
        assert room.enter()
        room.leave(entered_s=now_s, now_s=now_s + 0.1, late=False)
    assert room.size == FIRST


@given(st.lists(st.sampled_from(["enter", True, False, None]), max_size=200), st.integers(1, 64))
def test_it_is_always_within_its_bounds(steps: list[Any], most: int) -> None:
    room, now_s = Room(most=most), 0.0
    for step in steps:
        now_s += 1.0
        if step == "enter":
            room.enter()
        elif room.inside:
            room.leave(entered_s=now_s - 0.5, now_s=now_s, late=step)
        assert min(LEAST, most) <= room.size <= most
        assert 0 <= room.inside <= most


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
        learnt_s = asyncio.get_running_loop().time() + 1.5
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
    assert count > 0.8 * begun


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
        assert not stage.room.is_full  # type: ignore[union-attr]

    asyncio.run(ask())
