"""X-Request-ID on every answer: the caller's where it is well formed, else ours."""

from __future__ import annotations

import re
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAME = b"x-request-id"
WELL_FORMED = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class RequestId:
    """Replaces a malformed id before anyone behind sees it, and says the id exactly once."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == NAME]
        request_id = given[0] if len(given) == 1 and WELL_FORMED.fullmatch(given[0]) else uuid.uuid4().hex.encode()
        scope["headers"] = [*(pair for pair in scope["headers"] if pair[0] != NAME), (NAME, request_id)]

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                others = (pair for pair in message.get("headers", ()) if pair[0].lower() != NAME)
                message["headers"] = [*others, (NAME, request_id)]
            await send(message)

        await self.app(scope, receive, send_with_id)
