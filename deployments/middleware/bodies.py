"""What a request's body may be, by route, and how many bytes of photos are in memory at once."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import NamedTuple

from deployments.middleware.problems import HttpProblem

MAX_BODY_BYTES = 5_000_000
MAX_PHOTO_BODY_BYTES = 14_000_000
MAX_IMAGES_BODY_BYTES = 50_000_000
JSON, NDJSON, MULTIPART = "application/json", "application/x-ndjson", "multipart/form-data"
VISUAL_SEARCH_PATH = "/v1/visual-search"
ITEM_IMAGES_PATH = re.compile(r"/v1/items/.+/images")


class BodyRule(NamedTuple):
    """Kinds that may be sent, how much of them, and whether the bytes count against the budget of photos."""

    kinds: tuple[str, ...] = (JSON,)
    most_bytes: int = MAX_BODY_BYTES
    is_photo: bool = False

    def check_kind(self, content_type: str) -> None:
        """Raise 415 for another kind; a body without a declared one is read as JSON."""
        kind = content_type.partition(";")[0].strip().lower() or JSON
        if kind not in self.kinds:
            wanted = " or ".join(self.kinds[:2])
            raise HttpProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {wanted}, not {kind[:80]}")

    def check_size(self, size_bytes: int) -> None:
        """Raise 413 beyond the limit."""
        if size_bytes > self.most_bytes:
            raise HttpProblem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {self.most_bytes:,} bytes")


EVENTS = BodyRule(kinds=(JSON, NDJSON, "application/ndjson"))
PHOTO = BodyRule(kinds=(JSON, MULTIPART), most_bytes=MAX_PHOTO_BODY_BYTES, is_photo=True)
IMAGES = BodyRule(kinds=(MULTIPART,), most_bytes=MAX_IMAGES_BODY_BYTES, is_photo=True)
ROWS = BodyRule()


def body_rule(method: str, path: str) -> BodyRule:
    """The rule of a route."""
    if path == VISUAL_SEARCH_PATH:
        return PHOTO
    if method == "PUT" and ITEM_IMAGES_PATH.fullmatch(path):
        return IMAGES
    return EVENTS if path == "/v1/events" else ROWS


class ByteBudget:
    """Bytes of photos in memory, from their arrival until they are answered."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes, self.held_bytes = total_bytes, 0

    def take(self, size_bytes: int) -> None:
        """Raise 429 where they do not fit."""
        if self.held_bytes + size_bytes > self.total_bytes:
            raise HttpProblem(HTTPStatus.TOO_MANY_REQUESTS, "too many photos are being looked at already")
        self.held_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        self.held_bytes -= size_bytes
