"""Files of `user item item ...` lines, oldest item first: the form in which sequential recommendation is published."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.errors import InputError, Problem, shorten
from training.contracts.shop import ShopInfo
from training.contracts.tables import TIMESTAMP
from training.datasets.text_files import read_head, read_text, split_lines

MINUTE_US = 60_000_000
MAX_ID_CHARACTERS = 256
_ID = re.compile(r"[^\s]*\d[^\s]*")


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """Who met which items, in order: `items` lists all users' one after the other, `lengths` says how many each."""

    users: pa.Array
    lengths: np.ndarray
    items: pa.Array

    def item_ids(self) -> pa.Array:
        """The distinct items, in order of first appearance."""
        return pc.unique(self.items)

    def events(self, *, type: str, last: datetime) -> pa.Table:
        """The events table; only the order is real, so times are made up: a minute apart, each user ends at `last`."""
        ends = np.cumsum(self.lengths)
        nth = np.arange(len(self.items)) - np.repeat(ends - self.lengths, self.lengths)
        last_us = int(last.timestamp() * 1_000_000)
        times_us = last_us - (np.repeat(self.lengths, self.lengths) - 1 - nth) * MINUTE_US
        users = self.users.take(pa.array(np.repeat(np.arange(len(self.lengths)), self.lengths)))
        ids = pc.binary_join_element_wise(users, pa.array(nth).cast(pa.string()), ":")
        types = pa.array([type]).take(pa.array(np.zeros(len(nth), dtype=np.int64)))
        times = pa.array(times_us).cast(TIMESTAMP)
        return pa.table({"event_id": ids, "user_id": users, "type": types, "item_id": self.items, "timestamp": times})


def sequences_info(shop_id: str, *, name: str, reference_date: datetime) -> ShopInfo:
    """The shop of sequences of ratings: only their order is known, and nobody rates a thing twice."""
    return ShopInfo(
        shop_id=shop_id,
        name=name,
        currency="USD",
        reference_date=reference_date,
        positive_types=("rating",),
        repeats=False,
        ordinal_time=True,
    )


def looks_like_sequences(file: Path) -> bool:
    """Whether most of the first lines are two or more ids (words with a digit in them)."""
    try:
        lines = [line.split() for line in split_lines(read_head(file))[:50] if line.strip()]
    except InputError:
        return False
    fitting = sum(len(words) >= 2 and all(_ID.fullmatch(word) for word in words) for words in lines)
    return bool(lines) and fitting * 2 >= len(lines)


def read_sequences(file: Path) -> Sequences:
    """The sequences of `file`; raises InputError naming the line that has no item or a user already seen."""
    users: dict[str, int] = {}
    lengths: list[int] = []
    items: list[str] = []
    for number, line in enumerate(split_lines(read_text(file)), start=1):
        words = line.split()
        if not words:
            continue
        _check_line(file, number, words, users)
        users[words[0]] = number
        lengths.append(len(words) - 1)
        items += words[1:]
    if not users:
        raise InputError(Problem(file=str(file), problem="is empty", allowed="user item item ..."))
    return Sequences(
        users=pa.array(list(users), pa.string()), lengths=np.array(lengths), items=pa.array(items, pa.string())
    )


def _check_line(file: Path, number: int, words: list[str], users: dict[str, int]) -> None:
    problem = ""
    if len(words) < 2:
        problem = "a user without items"
    elif words[0] in users:
        problem = f"user {shorten(words[0])} was on line {users[words[0]]} already"
    elif max(map(len, words)) > MAX_ID_CHARACTERS:
        problem = f"an id of more than {MAX_ID_CHARACTERS} characters"
    if problem:
        raise InputError(
            Problem(file=str(file), line=number, problem=problem, found=shorten(" ".join(words)),
                    allowed="one line per user: user item item ...")
        )  # fmt: skip
