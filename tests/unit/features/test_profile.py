"""A profile sees what was known at `as_of`, however it is built."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from training.contracts.tables import TABLES, conform
from training.features.profile import PROFILE_EVENTS, EventHistory, make_profile

START = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = ("view", "impression", "purchase", "remove_from_cart", "custom:pin", "search")

Row = tuple[str, str, str, int, float | None]
dwells_s = st.none() | st.floats(0, 1e6)
rows = st.lists(
    st.tuples(st.sampled_from("uv"), st.sampled_from("abc"), st.sampled_from(KINDS), st.integers(0, 20), dwells_s),
    max_size=30,
)


def events_table(rows: list[Row], late: dict[int, int] | None = None) -> pa.Table:
    late = late or {}
    documents = [
        {
            "event_id": str(index),
            "user_id": user,
            "item_id": item,
            "type": kind,
            "timestamp": START + timedelta(seconds=second),
            "dwell_s": dwell_s,
            "received_at": START + timedelta(seconds=late[index]) if index in late else None,
        }
        for index, (user, item, kind, second, dwell_s) in enumerate(rows)
    ]
    schema = pa.schema([field for field in TABLES["events"].schema if not documents or field.name in documents[0]])
    return conform(pa.Table.from_pylist(documents, schema=schema), TABLES["events"])


def at(second: int) -> int:
    return int((START + timedelta(seconds=second)).timestamp() * 1_000_000)


@given(rows=rows, as_of_s=st.integers(0, 20))
def test_the_table_and_the_live_rows_give_the_same_profile(rows: list[Row], as_of_s: int) -> None:
    history = EventHistory(events_table(rows))
    live = [(item, kind, at(second), dwell_s or 0.0) for user, item, kind, second, dwell_s in rows
            if user == "u" and second <= as_of_s]  # fmt: skip
    assert history.profile("u", as_of_us=at(as_of_s)) == make_profile("u", live)


@given(rows=rows, as_of_s=st.integers(0, 20))
def test_nothing_of_the_moment_itself_when_strictly_before(rows: list[Row], as_of_s: int) -> None:
    profile = EventHistory(events_table(rows)).profile("u", as_of_us=at(as_of_s), strictly_before=True)
    assert all(moment_us < at(as_of_s) for moment_us in profile.timestamps_us)


def test_an_event_that_arrived_later_is_not_known_yet() -> None:
    history = EventHistory(events_table([("u", "a", "view", 1, None), ("u", "b", "view", 2, None)], late={0: 10}))
    assert history.profile("u", as_of_us=at(5)).item_ids == ("b",)
    assert history.profile("u", as_of_us=at(10)).item_ids == ("a", "b")


def test_a_profile_is_bounded_to_the_newest() -> None:
    profile = make_profile("u", [(f"i{n}", "view", n, 0.5 * n) for n in range(PROFILE_EVENTS + 50)])
    assert len(profile) == PROFILE_EVENTS
    assert profile.item_ids[-1] == f"i{PROFILE_EVENTS + 49}"
    assert profile.dwells_s[-1] == 0.5 * (PROFILE_EVENTS + 49)


def test_an_unknown_user_is_empty() -> None:
    profile = EventHistory(events_table([])).profile("nobody", as_of_us=at(1))
    assert len(profile) == 0
    assert profile.newest_us is None
