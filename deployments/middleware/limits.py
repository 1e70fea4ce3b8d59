"""What one request may take: a place among those in flight, time, and bytes."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.middleware.problems import HttpProblem, NotingSend, field_problem

MAX_BODY_BYTES = 5_000_000
TIMEOUT_HEADER = "X-Timeout-Ms"
DEFAULT_TIMEOUT_MS, MIN_TIMEOUT_MS, MAX_TIMEOUT_MS = 1000, 10, 30_000
GRACE_S = 0.25
"""Beyond the deadline, for an answer that is already being put together without its late stages."""
BODY_TIMEOUT_S = 10.0
JSON, NDJSON = "application/json", "application/x-ndjson"
BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on time.monotonic()'s scale."""

    at_s: float

    @classmethod
    def after(cls, timeout_s: float) -> Deadline:
        return cls(time.monotonic() + timeout_s)

    @property
    def left_s(self) -> float:
        return max(self.at_s - time.monotonic(), 0.0)

    def share_s(self, part: float) -> float:
        """`part` (0-1) of the time left."""
        return self.left_s * part


class Limits:
    """429 when too many are in flight, 415, 413 while reading, 422 for a bad X-Timeout-Ms, 503 past the deadline."""

    def __init__(self, app: ASGIApp, *, max_in_flight: int, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self.app, self.max_in_flight, self.max_body_bytes = app, max_in_flight, max_body_bytes
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.in_flight >= self.max_in_flight:
            busy = HttpProblem(HTTPStatus.TOO_MANY_REQUESTS, f"{self.max_in_flight} requests are in flight already")
            await busy.response()(scope, receive, send)
            return
        self.in_flight += 1
        try:
            await self._limited(scope, receive, send)
        except HttpProblem as problem:
            await problem.response()(scope, receive, send)
        finally:
            self.in_flight -= 1

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        timeout_s = _timeout_s(headers.get(TIMEOUT_HEADER.lower().encode()))
        if scope["method"] in BODY_METHODS:
            _check_kind(headers, scope["path"])
            receive = _replay(await self._body(headers, receive), receive)
        scope.setdefault("state", {})["deadline"] = Deadline.after(timeout_s)
        noting = NotingSend(send)
        try:
            async with asyncio.timeout(timeout_s + GRACE_S):
                await self.app(scope, receive, noting)
        except TimeoutError:
            if noting.started:
                raise
            late = f"not done within {timeout_s * 1000:.0f} ms; it is safe to send the same again"
            raise HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, late) from None

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        declared = headers.get(b"content-length", b"0")
        too_large = HttpProblem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {self.max_body_bytes:,} bytes"
        )
        if not declared.isdigit() or int(declared) > self.max_body_bytes:
            raise too_large
        chunks, size = [], 0
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                while True:
                    message = await receive()
                    chunk = message.get("body", b"")
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > self.max_body_bytes:
                        raise too_large
                    if not message.get("more_body", False):
                        return b"".join(chunks)
        except TimeoutError:
            late = f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s"
            raise HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, late) from None


def _timeout_s(header: bytes | None) -> float:
    if header is None:
        return DEFAULT_TIMEOUT_MS / 1000
    text = header.decode("latin-1").strip()
    if not re.fullmatch(r"[0-9]{1,6}", text) or not MIN_TIMEOUT_MS <= int(text) <= MAX_TIMEOUT_MS:
        raise field_problem(
            TIMEOUT_HEADER, f"must be whole milliseconds from {MIN_TIMEOUT_MS} to {MAX_TIMEOUT_MS}", found=text
        )
    return int(text) / 1000


def _check_kind(headers: dict[bytes, bytes], path: str) -> None:
    """A body without a declared kind is read as JSON."""
    kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    allowed = (JSON, NDJSON, "application/ndjson") if path == "/v1/events" else (JSON,)
    if kind and kind not in allowed:
        raise HttpProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {' or '.join(allowed[:2])}, not {kind[:80]}")


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body in one message, then whatever the connection says."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
