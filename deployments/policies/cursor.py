"""Cursors: which items earlier pages held, in the cursor itself, so that no page repeats one whoever serves it."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

MAX_ITEMS = 2_000
"""Deeper than this there is no further page."""
_HEAD = struct.Struct("<BI")
_FORMAT = 1


class Cursor(NamedTuple):
    """What was shown on the pages before: the hashes of their items."""

    shown: tuple[int, ...]

    @property
    def offset(self) -> int:
        return len(self.shown)


def item_hash(item_id: str) -> int:
    """32 bits; a collision leaves out an item that was not shown, never repeats one that was."""
    return zlib.crc32(item_id.encode("utf-8", "surrogatepass"))


def encode_cursor(shown: Iterable[int], *, user_id: str) -> str:
    body = b"".join(struct.pack("<I", value) for value in shown)
    return base64.urlsafe_b64encode(_HEAD.pack(_FORMAT, _seal(body, user_id)) + body).rstrip(b"=").decode()


def decode_cursor(text: str, *, user_id: str) -> Cursor:
    """Raises ValueError where the text is no cursor of ours for this user."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not a cursor") from None
    head, body = raw[: _HEAD.size], raw[_HEAD.size :]
    if len(head) < _HEAD.size or len(body) % 4 or len(body) > 4 * MAX_ITEMS:
        raise ValueError("not a cursor")
    if _HEAD.unpack(head) != (_FORMAT, _seal(body, user_id)):
        raise ValueError("not a cursor of an answer to this user")
    return Cursor(struct.unpack(f"<{len(body) // 4}I", body))


def _seal(body: bytes, user_id: str) -> int:
    return zlib.crc32(user_id.encode("utf-8", "surrogatepass") + b"\0" + body)
