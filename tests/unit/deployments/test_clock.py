"""The shop's now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from deployments.state.clock import DAY_US, ShopClock, clock_offset_us, from_us, to_us

REFERENCE = datetime(2026, 6, 30, tzinfo=UTC)


def test_an_old_shop_counts_on_from_its_reference_date() -> None:
    imported_us = to_us(REFERENCE) + 400 * DAY_US
    wall_us = iter([imported_us, imported_us + 5 * DAY_US])
    clock = ShopClock(clock_offset_us(REFERENCE, wall_us=imported_us), lambda: next(wall_us))
    assert clock.now() == REFERENCE
    assert clock.now() == REFERENCE + timedelta(days=5)


def test_a_live_shop_has_the_time_of_the_wall() -> None:
    for behind_us in (0, DAY_US // 2, DAY_US):
        assert clock_offset_us(REFERENCE, wall_us=to_us(REFERENCE) + behind_us) == 0


def test_a_shop_ahead_of_the_wall_counts_on_from_its_reference_date() -> None:
    wall_us = to_us(REFERENCE) - 3 * DAY_US
    clock = ShopClock(clock_offset_us(REFERENCE, wall_us=wall_us), lambda: wall_us + DAY_US)
    assert clock.now() == REFERENCE + timedelta(days=1)
    assert clock.shift_us == 0


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)))
def test_microseconds_keep_every_moment(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    assert from_us(to_us(aware)) == aware
    assert to_us(moment) == to_us(aware) == to_us(aware.astimezone(timezone(timedelta(hours=-5))))
