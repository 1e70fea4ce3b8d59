"""State in one SQLite file: WAL, synchronous=FULL, several threads and processes of one machine."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from deployments.state.clock import to_us
from deployments.state.events import EventRow, Outcome, StampedEvent, judge, stamp
from deployments.state.images import MAX_TOTAL_BYTES, ImageEntry, Kept
from deployments.state.records import (
    CatalogueEntry,
    Row,
    ServedRow,
    Upserted,
    decode_row,
    decode_served,
    encode_row,
    encode_served,
    merge,
    merge_items,
)
from deployments.state.sqlite_images import drop_images, write_images
from deployments.state.sqlite_schema import migrate
from deployments.state.store import MAX_RECOMMENDATIONS, StoreUnavailable, merged_alias, refuse_other_shop
from training.contracts.errors import InputError, Problem
from training.features.profile import PROFILE_EVENTS, Profile, make_profile

BUSY_TIMEOUT_S = 10.0
PIECE_ROWS = 10_000
MOST_VARIABLES = 500
"""Ids in one statement; SQLite allows 999 at least."""
_EVENT_COLUMNS = ", ".join(EventRow._fields)
_CONTEXT = EventRow._fields.index("context")
_WHO = "coalesce((SELECT user_id FROM aliases WHERE anonymous_id = :user), :user)"


class SqliteStore:
    """A Store over one file; readers never wait for writers."""

    single_node = True

    def __init__(
        self,
        path: Path,
        shop_id: str,
        *,
        max_recommendations: int = MAX_RECOMMENDATIONS,
        max_image_bytes: int = MAX_TOTAL_BYTES,
    ) -> None:
        self.path = path
        self._max_recommendations, self._max_image_bytes = max_recommendations, max_image_bytes
        self._idle: list[sqlite3.Connection] = []
        self._writing = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._reading() as db:
            _use_wal(db)
            migrate(db, place=str(path))
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO meta VALUES ('shop_id', ?)", (shop_id,))
        refuse_other_shop(found=self.meta("shop_id") or "", wanted=shop_id, place=str(path))

    def append_events(
        self, rows: Sequence[EventRow], *, counts: Mapping[str, int] | None = None, shift_us: int = 0
    ) -> list[Outcome]:
        events = [stamp(row, shift_us=shift_us) for row in rows]
        with self._transaction() as db:
            events = _resolve(db, events)
            held = _held_events(db, events)
            outcomes, accepted = [], []
            for event in events:
                key = (event.row.user_id, event.event_id)
                outcomes.append(judge(event, held.get(key)))
                if outcomes[-1] is Outcome.ACCEPTED:
                    held[key] = (event.fingerprint, event.row.known_us)
                    accepted.append(_event_values(event))
            marks = ", ".join("?" * (len(EventRow._fields) + 2))
            db.executemany(f"INSERT INTO events ({_EVENT_COLUMNS}, interest, fingerprint) VALUES ({marks})", accepted)
            _count(db, {**(counts or {}), "events": len(accepted)})
        return outcomes

    def profile(self, user_id: str) -> Profile:
        rows = self._rows(
            "SELECT item_id, type, timestamp_us, coalesce(dwell_s, 0.0) FROM events"
            f" WHERE user_id = {_WHO} AND interest = 1 ORDER BY timestamp_us DESC, seq DESC LIMIT :limit",
            {"user": user_id, "limit": PROFILE_EVENTS},
        )
        return make_profile(user_id, rows[::-1])

    def purchased(self, user_id: str, *, since_us: int) -> frozenset[str]:
        rows = self._rows(
            f"SELECT item_id FROM events WHERE user_id = {_WHO} AND interest = 1 AND timestamp_us >= :since"
            " AND type = 'purchase'",
            {"user": user_id, "since": since_us},
        )
        return frozenset(item_id for (item_id,) in rows)

    def seen(self, user_id: str) -> frozenset[str]:
        rows = self._rows(
            f"SELECT DISTINCT item_id FROM events WHERE user_id = {_WHO} AND item_id NOT NULL", {"user": user_id}
        )
        return frozenset(item_id for (item_id,) in rows)

    def upsert_items(self, items: Sequence[Mapping[str, Any]]) -> list[Upserted]:
        with self._transaction() as db:
            ids = orjson.dumps([patch["item_id"] for patch in items]).decode()
            found = db.execute(
                "SELECT item_id, body FROM items WHERE item_id IN (SELECT value FROM json_each(?))", (ids,)
            )
            held = {item_id: decode_row(body) for item_id, body in found if body is not None}
            outcomes, changed = merge_items(held, items)
            _write_items(db, {item_id: encode_row(item) for item_id, item in changed.items()})
        return outcomes

    def item(self, item_id: str) -> Row | None:
        rows = self._rows("SELECT body FROM items WHERE item_id = ? AND body NOT NULL", (item_id,))
        return decode_row(rows[0][0]) if rows else None

    def delete_item(self, item_id: str) -> bool:
        with self._transaction() as db:
            known = db.execute("SELECT 1 FROM items WHERE item_id = ? AND body NOT NULL", (item_id,)).fetchone()
            if known:
                _set_catalogue_seq(db, drop_images(db, item_id, _catalogue_seq(db)))
                _write_items(db, {item_id: None})
        return known is not None

    def put_images(self, item_id: str, images: Mapping[str, bytes]) -> list[Kept] | None:
        with self._transaction() as db:
            if not db.execute("SELECT 1 FROM items WHERE item_id = ? AND body NOT NULL", (item_id,)).fetchone():
                return None
            outcomes, seq = write_images(db, item_id, images, _catalogue_seq(db), self._max_image_bytes)
            _set_catalogue_seq(db, seq)
        return outcomes

    def images_since(self, seq: int, *, limit: int = 16) -> list[ImageEntry]:
        rows = self._rows(
            "SELECT seq, item_id, image_id, data FROM images WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)
        )
        return [ImageEntry(*row) for row in rows]

    def catalogue_seq(self) -> int:
        return int(self.meta("catalogue_seq") or 0)

    def catalogue_since(self, seq: int, *, limit: int = 1_000) -> list[CatalogueEntry]:
        rows = self._rows("SELECT seq, item_id, body FROM items WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))
        return [CatalogueEntry(at, item_id, None if body is None else decode_row(body)) for at, item_id, body in rows]

    def raise_catalogue_seq(self, seq: int) -> None:
        with self._transaction() as db:
            _set_catalogue_seq(db, max(seq, _catalogue_seq(db)))

    def upsert_users(self, users: Sequence[Mapping[str, Any]]) -> None:
        with self._transaction() as db:
            for patch in users:
                user_id = _aliases(db, [patch["user_id"]]).get(patch["user_id"], patch["user_id"])
                _write_user(db, merge(_user(db, user_id), {**patch, "user_id": user_id}))

    def user(self, user_id: str) -> Row | None:
        rows = self._rows(f"SELECT body FROM users WHERE user_id = {_WHO}", {"user": user_id})
        return decode_row(rows[0][0]) if rows else None

    def merge_users(self, user_id: str, anonymous_id: str, *, now_us: int) -> None:
        with self._transaction() as db:
            target = merged_alias(_aliases(db, [user_id, anonymous_id]), user_id, anonymous_id)
            if target is None:
                return
            db.execute("UPDATE aliases SET user_id = ? WHERE user_id = ?", (target, anonymous_id))
            db.execute("INSERT OR REPLACE INTO aliases VALUES (?, ?)", (anonymous_id, target))
            db.execute(
                "UPDATE events SET user_id = ?, received_at_us = max(coalesce(received_at_us, timestamp_us), ?)"
                " WHERE user_id = ?",
                (target, now_us, anonymous_id),
            )
            if anonymous := _user(db, anonymous_id):
                known = {**_user(db, target), "user_id": target}
                _write_user(db, merge(anonymous, known))
                db.execute("DELETE FROM users WHERE user_id = ?", (anonymous_id,))

    def append_sales(self, rows: Sequence[Mapping[str, Any]]) -> None:
        values = [(row["series_id"], to_us(row["timestamp"]), encode_row(row)) for row in rows]
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO sales VALUES (?, ?, ?)", values)

    def log_recommendations(self, rows: Sequence[ServedRow]) -> None:
        values = [(row.recommendation_id, encode_served(row)) for row in rows]
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO recommendations (recommendation_id, body) VALUES (?, ?)", values)
            db.execute(
                "DELETE FROM recommendations WHERE seq <= (SELECT max(seq) FROM recommendations) - ?",
                (self._max_recommendations,),
            )

    def recommendation(self, recommendation_id: str) -> ServedRow | None:
        rows = self._rows("SELECT body FROM recommendations WHERE recommendation_id = ?", (recommendation_id,))
        return decode_served(rows[0][0]) if rows else None

    def counters(self) -> dict[str, int]:
        return dict(self._rows("SELECT name, value FROM counters"))

    def meta(self, name: str) -> str | None:
        rows = self._rows("SELECT value FROM meta WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def set_meta(self, notes: Mapping[str, str]) -> None:
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", notes.items())

    def events(self) -> Iterator[list[EventRow]]:
        for piece in self._pieces(f"SELECT {_EVENT_COLUMNS} FROM events ORDER BY seq"):
            yield [_event_row(values) for values in piece]

    def users(self) -> Iterator[list[Row]]:
        for piece in self._pieces("SELECT body FROM users ORDER BY user_id"):
            yield [decode_row(body) for (body,) in piece]

    def sales(self) -> Iterator[list[Row]]:
        for piece in self._pieces("SELECT body FROM sales ORDER BY series_id, timestamp_us"):
            yield [decode_row(body) for (body,) in piece]

    def sales_of(self, series_ids: Sequence[str], *, since_us: int) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for start in range(0, len(series_ids), MOST_VARIABLES):
            piece = series_ids[start : start + MOST_VARIABLES]
            marks = ",".join("?" * len(piece))
            query = (
                f"SELECT series_id, body FROM sales WHERE series_id IN ({marks}) AND timestamp_us >= ? "
                "ORDER BY series_id, timestamp_us"
            )
            for series_id, body in self._rows(query, (*piece, since_us)):
                found.setdefault(series_id, []).append(decode_row(body))
        return found

    def recommendations(self) -> Iterator[list[ServedRow]]:
        for piece in self._pieces("SELECT body FROM recommendations ORDER BY seq"):
            yield [decode_served(body) for (body,) in piece]

    def stats(self) -> dict[str, int]:
        ((items,),) = self._rows("SELECT count(*) FROM items WHERE body NOT NULL")
        counts = {
            table: self._rows(f"SELECT count(*) FROM {table}")[0][0] for table in ("users", "sales", "recommendations")
        }
        ((images,),) = self._rows("SELECT count(*) FROM images WHERE data NOT NULL")
        files = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        size_bytes = sum(file.stat().st_size for file in files if file.exists())
        events = self.counters().get("events", 0)
        counts |= {"images": images, "catalogue_seq": self.catalogue_seq(), "bytes": size_bytes}
        return {"items": items, "events": events, **counts}

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _rows(self, query: str, values: Mapping[str, Any] | Sequence[Any] = ()) -> list[Any]:
        with self._reading() as db:
            return db.execute(query, values).fetchall()

    def _pieces(self, query: str) -> Iterator[list[Any]]:
        with self._reading() as db:
            cursor = db.execute(query)
            while piece := cursor.fetchmany(PIECE_ROWS):
                yield piece

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection inside a write transaction; committed and on disk when the block ends well."""
        with self._writing, self._reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """An idle connection or a new one; SQLite's own failures become StoreUnavailable."""
        try:
            try:
                db = self._idle.pop()
            except IndexError:
                db = self._connect()
            try:
                yield db
            finally:
                self._idle.append(db)
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise
            raise InputError(Problem(problem=f"not a state file: {error}", file=str(self.path))) from error

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        for setting in (
            "synchronous = FULL",
            "cache_size = -32000",
            "mmap_size = 268435456",
            "temp_store = MEMORY",
        ):
            db.execute(f"PRAGMA {setting}")
        return db


def _use_wal(db: sqlite3.Connection) -> None:
    """The file keeps the mode. Processes that open a new file at once get in each other's way without being queued."""
    give_up_at = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)


def _aliases(db: sqlite3.Connection, user_ids: Sequence[str]) -> dict[str, str]:
    wanted = orjson.dumps(list(dict.fromkeys(user_ids))).decode()
    query = "SELECT anonymous_id, user_id FROM aliases WHERE anonymous_id IN (SELECT value FROM json_each(?))"
    return dict(db.execute(query, (wanted,)).fetchall())


def _resolve(db: sqlite3.Connection, events: list[StampedEvent]) -> list[StampedEvent]:
    aliases = _aliases(db, [event.row.user_id for event in events])
    if not aliases:
        return events
    return [
        event._replace(row=event.row._replace(user_id=aliases.get(event.row.user_id, event.row.user_id)))
        for event in events
    ]


def _held_events(db: sqlite3.Connection, events: Sequence[StampedEvent]) -> dict[tuple[str, str], tuple[int, int]]:
    """(fingerprint, known_us) of the last event held under each (user_id, event_id) that is asked for."""
    keys = orjson.dumps([(event.row.user_id, event.event_id) for event in events]).decode()
    found = db.execute(
        "SELECT user_id, event_id, fingerprint, coalesce(received_at_us, timestamp_us) FROM json_each(?) AS asked"
        " CROSS JOIN events ON user_id = asked.value ->> 0 AND event_id = asked.value ->> 1 ORDER BY events.seq",
        (keys,),
    )
    return {(user_id, event_id): (fingerprint, known_us) for user_id, event_id, fingerprint, known_us in found}


def _event_values(event: StampedEvent) -> tuple[Any, ...]:
    values = list(event.row)
    context = values[_CONTEXT]
    values[_CONTEXT] = orjson.dumps(context).decode() if context else None
    return (*values, event.row.interest, event.fingerprint)


def _event_row(values: Sequence[Any]) -> EventRow:
    row = EventRow(*values)
    return row if values[_CONTEXT] is None else row._replace(context=orjson.loads(values[_CONTEXT]))


def _count(db: sqlite3.Connection, counts: Mapping[str, int]) -> None:
    db.executemany(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        [(name, number) for name, number in counts.items() if number],
    )


def _catalogue_seq(db: sqlite3.Connection) -> int:
    row = db.execute("SELECT value FROM meta WHERE name = 'catalogue_seq'").fetchone()
    return int(row[0]) if row else 0


def _set_catalogue_seq(db: sqlite3.Connection, seq: int) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES ('catalogue_seq', ?)", (str(seq),))


def _write_items(db: sqlite3.Connection, bodies: Mapping[str, str | None]) -> None:
    """Log a new state of each item, a body of None deletes."""
    seq = _catalogue_seq(db)
    rows = [(item_id, seq + step, body) for step, (item_id, body) in enumerate(bodies.items(), start=1)]
    db.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", rows)
    _set_catalogue_seq(db, seq + len(rows))


def _user(db: sqlite3.Connection, user_id: str) -> Row:
    found = db.execute("SELECT body FROM users WHERE user_id = ?", (user_id,)).fetchone()
    return decode_row(found[0]) if found else {}


def _write_user(db: sqlite3.Connection, user: Row) -> None:
    db.execute("INSERT OR REPLACE INTO users VALUES (?, ?)", (user["user_id"], encode_row(user)))
