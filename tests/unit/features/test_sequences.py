"""Token sequences and the leave-one-out split, against a plain reading of their definition."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from training.contracts.tables import TIMESTAMP
from training.features.profile import make_profile
from training.features.sequences import (
    Histories,
    Sequences,
    interest_histories,
    leave_one_out,
    token_places,
)
from training.features.vocabulary import Codes, Vocabulary

START = datetime(2026, 1, 1, tzinfo=UTC)
Row = tuple[str, str, str | None, int]
users_of_events = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=12), min_size=1, max_size=6
)


def histories_of(users: Sequence[Sequence[tuple[int, bool]]]) -> Histories:
    flat = [event for user in users for event in user]
    return Histories(
        user_ids=[f"u{n}" for n in range(len(users))],
        offsets_U=np.cumsum([0, *(len(user) for user in users)]),
        codes_N=np.array([code for code, _ in flat], np.int32),
        timestamps_us_N=np.arange(len(flat), dtype=np.int64),
        positive_N=np.array([positive for _, positive in flat], np.bool_),
    )


def tokens_of(codes_N: Codes) -> list[int]:
    return codes_N[token_places(codes_N)].tolist()


def collapsed(codes: Sequence[int]) -> list[int]:
    return [code for code, _ in groupby(codes)]


def table(rows: Sequence[Row]) -> pa.Table:
    users, kinds, items, seconds = zip(*rows, strict=True)
    times = pa.array([START + timedelta(seconds=second) for second in seconds], TIMESTAMP)
    return pa.table({"user_id": users, "type": kinds, "item_id": items, "timestamp": times})


def test_a_token_has_the_time_of_the_first_event_of_its_run() -> None:
    users = [[(1, True), (1, True), (2, True), (3, True), (3, True), (4, True)]]
    split = leave_one_out(histories_of(users))
    assert split.test.inputs.times_us is not None
    assert split.test.inputs[0].tolist() == [1, 2, 3]
    assert split.test.inputs.times_us[0].tolist() == [0, 2, 3]
    assert split.train.windows(1).times_us is not None
    assert leave_one_out(histories_of(users), timed=False).train.times_us is None


@given(users_of_events)
def test_an_input_is_what_came_strictly_before_its_target(users: list[list[tuple[int, bool]]]) -> None:
    split = leave_one_out(histories_of(users))
    judged = [n for n, user in enumerate(users) if sum(positive for _, positive in user) >= 3]
    assert split.test.users_U.tolist() == split.validation.users_U.tolist() == judged
    assert split.train_only_users == len(users) - len(judged)
    for row, user in enumerate(judged):
        positives = [place for place, (_, positive) in enumerate(users[user]) if positive]
        codes = [code for code, _ in users[user]]
        for cases, place in ((split.test, positives[-1]), (split.validation, positives[-2])):
            assert cases.inputs[row].tolist() == collapsed(codes[:place])
            assert cases.targets_U[row] == codes[place]


@given(users_of_events)
def test_nothing_from_the_validation_target_on_is_trained(users: list[list[tuple[int, bool]]]) -> None:
    split = leave_one_out(histories_of(users))
    wanted = []
    for number, user in enumerate(users):
        positives = [place for place, (_, positive) in enumerate(user) if positive]
        trained = user[: positives[-2]] if len(positives) >= 3 else user
        assert split.train[number].tolist() == collapsed([code for code, _ in trained])
        for place in range(1, len(trained)):
            code, positive = trained[place]
            if code != trained[place - 1][0] or positive:
                wanted.append((trained[place - 1][0], code))
    pairs = zip(split.train.tokens_N[split.pairs.positions_P].tolist(), split.pairs.targets_P.tolist(), strict=True)
    assert list(pairs) == wanted


def test_a_table_becomes_histories_by_user_and_time() -> None:
    events = table(
        [
            ("b", "view", "x", 5),
            ("a", "view", "y", 9),
            ("a", "purchase", "x", 1),
            ("a", "impression", "y", 2),
            ("a", "custom:saved", "z", 9),
            ("a", "view", "unheard-of", 3),
            ("a", "search", None, 4),
        ]
    )
    histories = interest_histories(events, Vocabulary(["x", "y", "z"]), ["purchase"])
    assert histories.user_ids == ["a", "b"]
    assert histories.codes_N.tolist() == [0, 1, 2, 0]
    assert histories.positive_N.tolist() == [True, False, False, False]
    assert histories.unknown_items == 1


def test_serving_makes_the_tokens_that_training_made() -> None:
    rows: list[Row] = [
        ("u", "view", "x", 1),
        ("u", "purchase", "x", 2),
        ("u", "dislike", "y", 3),
        ("u", "view", "?", 4),
    ]
    rows += [("u", "view", "x", 5), ("u", "like", "y", 6)]
    vocabulary = Vocabulary(["x", "y"])
    trained = leave_one_out(interest_histories(table(rows), vocabulary, ["view"])).train[0]
    live = make_profile("u", [(item or "", kind, second, 0.0) for _, kind, item, second in rows])
    assert tokens_of(vocabulary.encode(list(live.item_ids))) == trained.tolist() == [0, 1]


def test_sequences_are_slices() -> None:
    sequences = Sequences.of([np.array([1, 2, 3], np.int32), np.array([], np.int32), np.array([4], np.int32)])
    assert [part.tolist() for part in sequences] == [[1, 2, 3], [], [4]]
    assert [part.tolist() for part in sequences.last(2)] == [[2, 3], [], [4]]
    assert len(Sequences.of([])) == 0


@given(st.lists(st.integers(-1, 3)))
def test_collapse_drops_the_unknown_and_joins_runs(codes: list[int]) -> None:
    assert tokens_of(np.array(codes, np.int32)) == collapsed([code for code in codes if code >= 0])


def test_windows_cover_every_token_once_from_the_newest_back() -> None:
    sequences = Sequences.of([np.arange(5), np.arange(0), np.arange(10, 13)])
    assert [part.tolist() for part in sequences.windows(2)] == [[3, 4], [1, 2], [0], [11, 12], [10]]
