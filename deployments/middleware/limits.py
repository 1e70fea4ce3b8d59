"""What one request may take: a place among those in flight, time, and bytes."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.middleware.bodies import BodyRule, ByteBudget, body_rule
from deployments.middleware.problems import HttpProblem, NotingSend, field_problem

TIMEOUT_HEADER = "X-Timeout-Ms"
DEFAULT_TIMEOUT_MS, MIN_TIMEOUT_MS, MAX_TIMEOUT_MS = 1000, 10, 30_000
GRACE_S = 0.25
"""Beyond the deadline, for an answer that is already being put together without its late stages."""
BODY_TIMEOUT_S = 10.0
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

    def __init__(self, app: ASGIApp, *, max_in_flight: int, photo_bytes: int) -> None:
        self.app, self.max_in_flight = app, max_in_flight
        self.in_flight, self.photos = 0, ByteBudget(photo_bytes)

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
        if scope["method"] not in BODY_METHODS:
            await self._timed(scope, receive, send, timeout_s)
            return
        body = _Body(body_rule(scope["method"], scope["path"]), self.photos)
        try:
            await body.read(headers, receive)
            await self._timed(scope, _replay(body, receive), send, timeout_s)
        finally:
            body.release()

    async def _timed(self, scope: Scope, receive: Receive, send: Send, timeout_s: float) -> None:
        scope.setdefault("state", {})["deadline"] = Deadline.after(timeout_s)
        noting = NotingSend(send)
        try:
            async with asyncio.timeout(timeout_s + GRACE_S):
                await self.app(scope, receive, noting)
        except TimeoutError:
            if noting.started:
                raise
            late = (
                f"not done within {timeout_s * 1000:.0f} ms; it is safe to send the same again, with up to "
                f"{MAX_TIMEOUT_MS} ms by {TIMEOUT_HEADER}"
            )
            raise HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, late) from None


class _Body:
    """One request's body, given up as soon as it breaks its rule."""

    def __init__(self, rule: BodyRule, photos: ByteBudget) -> None:
        self.rule, self.photos = rule, photos
        self.chunks: list[bytes] = []
        self.size_bytes = 0

    async def read(self, headers: dict[bytes, bytes], receive: Receive) -> None:
        """All of it; raises HttpProblem 413, 415, 429, or 503 where it does not arrive."""
        self.rule.check_kind(headers.get(b"content-type", b"").decode("latin-1"))
        declared = headers.get(b"content-length", b"0")
        self.rule.check_size(int(declared) if declared.isdigit() else self.rule.most_bytes + 1)
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                while self._take(await receive()):
                    pass
        except TimeoutError:
            late = f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s"
            raise HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, late) from None

    def _take(self, message: Message) -> bool:
        """Whether there is more to come."""
        chunk = message.get("body", b"")
        self.rule.check_size(self.size_bytes + len(chunk))
        if self.rule.is_photo:
            self.photos.take(len(chunk))
        self.size_bytes += len(chunk)
        self.chunks.append(chunk)
        return bool(message.get("more_body", False))

    def joined(self) -> bytes:
        """Once; the chunks are let go."""
        whole = b"".join(self.chunks)
        self.chunks.clear()
        return whole

    def release(self) -> None:
        if self.rule.is_photo:
            self.photos.give_back(self.size_bytes)


def _timeout_s(header: bytes | None) -> float:
    if header is None:
        return DEFAULT_TIMEOUT_MS / 1000
    text = header.decode("latin-1").strip()
    if not re.fullmatch(r"[0-9]{1,6}", text) or not MIN_TIMEOUT_MS <= int(text) <= MAX_TIMEOUT_MS:
        raise field_problem(
            TIMEOUT_HEADER, f"must be whole milliseconds from {MIN_TIMEOUT_MS} to {MAX_TIMEOUT_MS}", found=text
        )
    return int(text) / 1000


def _replay(body: _Body, receive: Receive) -> Receive:
    """The body in one message, then whatever the connection says."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body.joined(), "more_body": False}

    return receive_again
