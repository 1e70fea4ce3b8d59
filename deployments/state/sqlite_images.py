"""Pictures in an SQLite store: rows of the catalogue's log with what they hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from deployments.state.images import ALL, Kept, judge


def write_images(
    db: sqlite3.Connection, item_id: str, images: Mapping[str, bytes], seq: int, max_total_bytes: int
) -> tuple[list[Kept], int]:
    """What became of each, and the last number of the log now."""
    held = {found for (found,) in db.execute("SELECT image_id FROM images WHERE item_id = ?", (item_id,))} - {ALL}
    ((total_bytes,),) = db.execute("SELECT coalesce(sum(size_bytes), 0) FROM images")
    outcomes, fresh = judge(dict(images), held, total_bytes=total_bytes, max_total_bytes=max_total_bytes)
    rows = [(item_id, image_id, seq + step, len(data), data) for step, (image_id, data) in enumerate(fresh.items(), 1)]
    db.executemany("INSERT INTO images VALUES (?, ?, ?, ?, ?)", rows)
    return outcomes, seq + len(rows)


def drop_images(db: sqlite3.Connection, item_id: str, seq: int) -> int:
    """Forget the item's pictures and log that, for those that bundles hold too; the last number of the log now."""
    db.execute("DELETE FROM images WHERE item_id = ?", (item_id,))
    db.execute("INSERT INTO images VALUES (?, ?, ?, 0, NULL)", (item_id, ALL, seq + 1))
    return seq + 1
