"""A user's history as a sequence of item tokens: the same in training, in evaluation and at serving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.features.profile import is_interest
from training.features.vocabulary import UNKNOWN, Codes, Vocabulary

LEAST_POSITIVES = 3

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Moments = Sequence[Int64s] | None
"""times_us_L of some histories; None where nobody knows them."""


def run_starts(codes_N: Codes) -> Bools:
    """True where an item differs from the one before it: consecutive events on one item are one token."""
    starts_N = np.ones(len(codes_N), dtype=np.bool_)
    starts_N[1:] = codes_N[1:] != codes_N[:-1]
    return starts_N


def token_places(codes_N: Codes) -> Int64s:
    """Places in one user's codes that are tokens: unknown ones are dropped and each run of one item is a single one."""
    known = np.flatnonzero(codes_N != UNKNOWN)
    return known[run_starts(codes_N[known])]


@dataclass(frozen=True, kw_only=True)
class Histories:
    """Interest events of every user, CSR by user, in (timestamp, event order); users in the order of user_id."""

    user_ids: list[str]
    offsets_U: Int64s
    codes_N: Codes
    timestamps_us_N: Int64s
    positive_N: Bools
    unknown_items: int = 0

    def __len__(self) -> int:
        return len(self.user_ids)


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """Slices of one shared token array, one per user, and of the tokens' times, where there are any."""

    tokens_N: Codes
    starts_U: Int64s
    ends_U: Int64s
    times_us_N: Int64s | None = None

    def __len__(self) -> int:
        return len(self.starts_U)

    def __getitem__(self, user: int) -> Codes:
        return self.tokens_N[self.starts_U[user] : self.ends_U[user]]

    def __iter__(self) -> Iterator[Codes]:
        return (self[user] for user in range(len(self)))

    @property
    def lengths_U(self) -> Int64s:
        return self.ends_U - self.starts_U

    @property
    def times_us(self) -> Moments:
        """Of each user's tokens."""
        if self.times_us_N is None:
            return None
        return [self.times_us_N[start:end] for start, end in zip(self.starts_U, self.ends_U, strict=True)]

    def last(self, length: int) -> Sequences:
        """Each slice cut to its newest `length` tokens."""
        return replace(self, starts_U=np.maximum(self.starts_U, self.ends_U - length))

    def windows(self, length: int) -> Sequences:
        """Every slice cut into pieces of at most `length` tokens, from its newest token back; none for an empty one."""
        pieces_U = -(-self.lengths_U // length)
        of_W = np.repeat(np.arange(len(self)), pieces_U)
        nth_W = np.arange(len(of_W)) - np.repeat(np.cumsum(pieces_U) - pieces_U, pieces_U)
        ends_W = self.ends_U[of_W] - nth_W * length
        return replace(self, starts_U=np.maximum(self.starts_U[of_W], ends_W - length), ends_U=ends_W)

    def take(self, users: Int64s) -> Sequences:
        return replace(self, starts_U=self.starts_U[users], ends_U=self.ends_U[users])

    @classmethod
    def of(cls, histories: Sequence[Codes]) -> Sequences:
        """Sequences from one array per user."""
        ends = np.cumsum([len(history) for history in histories], dtype=np.int64)
        joined = np.concatenate([*histories, np.zeros(0, np.int32)]).astype(np.int32)
        return cls(
            tokens_N=joined, starts_U=np.concatenate([np.zeros(min(1, len(ends)), np.int64), ends[:-1]]), ends_U=ends
        )


@dataclass(frozen=True, kw_only=True)
class Cases:
    """What an evaluation asks: `targets_U[u]` at `times_us_U[u]`, given `inputs[u]`; `users_U` index the histories."""

    users_U: Int64s
    inputs: Sequences
    targets_U: Codes
    times_us_U: Int64s

    def __len__(self) -> int:
        return len(self.targets_U)

    def take(self, rows: Int64s) -> Cases:
        return Cases(
            users_U=self.users_U[rows],
            inputs=self.inputs.take(rows),
            targets_U=self.targets_U[rows],
            times_us_U=self.times_us_U[rows],
        )


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """What training asks of the token at `positions_P` (into the shared tokens): to foretell `targets_P`."""

    positions_P: Int64s
    targets_P: Codes


@dataclass(frozen=True, kw_only=True)
class Split:
    """Leave one out: what is trained on, and the cases of validation and test."""

    train: Sequences
    pairs: Pairs
    validation: Cases
    test: Cases
    train_only_users: int


def interest_histories(events: pa.Table, vocabulary: Vocabulary, positive_types: Sequence[str]) -> Histories:
    """Interest events on items of the vocabulary, by user and time; rows of the table break ties of time."""
    kinds = pc.unique(events["type"]).to_pylist()
    wanted = pa.array([kind for kind in kinds if is_interest(kind) or kind in positive_types], pa.string())
    events = events.filter(pc.and_(pc.is_in(events["type"], value_set=wanted), pc.is_valid(events["item_id"])))
    codes = vocabulary.encode(events["item_id"])
    known = codes != UNKNOWN
    events = events.filter(pa.array(known))
    user_ids = sorted(pc.unique(events["user_id"]).to_pylist())
    users = np.asarray(pc.index_in(events["user_id"], value_set=pa.array(user_ids, pa.string())), dtype=np.int64)
    times_us = np.asarray(events["timestamp"].cast(pa.int64()), dtype=np.int64)
    order = np.lexsort((times_us, users))
    positive = np.asarray(
        pc.is_in(events["type"], value_set=pa.array(list(positive_types), pa.string())), dtype=np.bool_
    )
    return Histories(
        user_ids=user_ids,
        offsets_U=np.searchsorted(users[order], np.arange(len(user_ids) + 1)).astype(np.int64),
        codes_N=codes[known][order],
        timestamps_us_N=times_us[order],
        positive_N=positive[order],
        unknown_items=int((~known).sum()),
    )


def leave_one_out(histories: Histories, *, timed: bool = True) -> Split:
    """The last positive event of each user for test, the one before for validation, what precedes both for training.

    An input holds every token strictly before its target's event. Users with fewer than 3 positive events train only.
    `timed` says that times are more than an order: then a token has that of the first event of its run.
    """
    offsets, codes = histories.offsets_U, histories.codes_N
    starts_N = run_starts(codes)
    starts_N[offsets[:-1][np.diff(offsets) > 0]] = True
    token_of_N = np.cumsum(starts_N) - 1
    shared, times_us = codes[starts_N], histories.timestamps_us_N[starts_N] if timed else None
    tokens_before_N1 = np.concatenate([np.zeros(1, np.int64), token_of_N + 1])  # tokens among events 0..n-1
    first_token_U = tokens_before_N1[offsets[:-1]]
    users, validation_events, test_events = _last_two_positives(histories)

    def cases(events: Int64s) -> Cases:
        # A target in the middle of a run still sees the run's earlier events as its last token.
        starts_U, ends_U = first_token_U[users], tokens_before_N1[events]
        inputs = Sequences(tokens_N=shared, starts_U=starts_U, ends_U=ends_U, times_us_N=times_us)
        times_us_U = histories.timestamps_us_N[events]
        return Cases(users_U=users, inputs=inputs, targets_U=codes[events], times_us_U=times_us_U)

    train_end_U = offsets[1:].copy()
    train_end_U[users] = validation_events
    train = Sequences(
        tokens_N=shared, starts_U=first_token_U, ends_U=tokens_before_N1[train_end_U], times_us_N=times_us
    )  # fmt: skip
    pairs = _training_pairs(histories, train_end_U, starts_N, token_of_N)
    return Split(
        train=train,
        pairs=pairs,
        validation=cases(validation_events),
        test=cases(test_events),
        train_only_users=len(histories) - len(users),
    )


def _last_two_positives(histories: Histories) -> tuple[Int64s, Int64s, Int64s]:
    """The users with enough positive events, and of each the place of the last but one and of the last of these."""
    positives = np.flatnonzero(histories.positive_N)
    ends_U1 = np.searchsorted(positives, histories.offsets_U)
    users = np.flatnonzero(np.diff(ends_U1) >= LEAST_POSITIVES)
    last_U = ends_U1[1:][users] - 1
    return users, positives[last_U - 1], positives[last_U]


def _training_pairs(histories: Histories, train_end_U: Int64s, starts_N: Bools, token_of_N: Int64s) -> Pairs:
    """Every next token, and every positive event on the item that its own token already is (a repeat)."""
    counts_U = np.diff(histories.offsets_U)
    place_N = np.arange(len(starts_N)) - np.repeat(histories.offsets_U[:-1], counts_U)
    trained_N = np.arange(len(starts_N)) < np.repeat(train_end_U, counts_U)
    events = np.flatnonzero(trained_N & (place_N > 0) & (starts_N | histories.positive_N))
    return Pairs(positions_P=token_of_N[events - 1], targets_P=histories.codes_N[events])
