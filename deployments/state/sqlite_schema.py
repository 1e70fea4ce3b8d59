"""The tables of an SQLite store and the steps that brought them about."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from deployments.state.store import refuse_newer_schema

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
        "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT",
        """CREATE TABLE events (
            seq INTEGER PRIMARY KEY, user_id TEXT NOT NULL, type TEXT NOT NULL, item_id TEXT,
            timestamp_us INTEGER NOT NULL, event_id TEXT NOT NULL, session_id TEXT, value REAL, quantity REAL,
            dwell_s REAL, query TEXT, recommendation_id TEXT, position INTEGER, context TEXT, split TEXT,
            received_at_us INTEGER, interest INTEGER NOT NULL, fingerprint INTEGER NOT NULL
        ) STRICT""",
        "CREATE INDEX events_by_id ON events (user_id, event_id)",
        "CREATE INDEX events_by_time ON events (user_id, interest, timestamp_us, seq, type, item_id)",
        "CREATE TABLE aliases (anonymous_id TEXT PRIMARY KEY, user_id TEXT NOT NULL) STRICT, WITHOUT ROWID",
        "CREATE TABLE items (item_id TEXT PRIMARY KEY, seq INTEGER NOT NULL UNIQUE, body TEXT) STRICT",
        "CREATE TABLE users (user_id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT",
        """CREATE TABLE sales (
            series_id TEXT NOT NULL, timestamp_us INTEGER NOT NULL, body TEXT NOT NULL,
            PRIMARY KEY (series_id, timestamp_us)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE recommendations (
            seq INTEGER PRIMARY KEY, recommendation_id TEXT NOT NULL UNIQUE, body TEXT NOT NULL
        ) STRICT""",
    ),
    (
        "DROP INDEX events_by_time",
        "CREATE INDEX events_by_time ON events (user_id, interest, timestamp_us, seq, type, item_id, dwell_s)",
    ),
    (
        """CREATE TABLE images (
            item_id TEXT NOT NULL, image_id TEXT NOT NULL, seq INTEGER NOT NULL UNIQUE, size_bytes INTEGER NOT NULL,
            data BLOB, PRIMARY KEY (item_id, image_id)
        ) STRICT""",
        "CREATE INDEX image_sizes ON images (size_bytes)",
    ),
)


def migrate(connection: sqlite3.Connection, *, place: str, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring the file to the last schema, whole steps only; raises InputError where it is ahead of us."""
    if _version(connection) == len(migrations):
        return
    connection.execute("BEGIN EXCLUSIVE")
    try:
        version = _version(connection)
        refuse_newer_schema(found=version, known=len(migrations), place=place)
        for statement in (statement for step in migrations[version:] for statement in step):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
