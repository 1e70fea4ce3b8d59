"""Errors as RFC 9457 `application/problem+json`: what is wrong, in which field, and never a stack trace."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from training.contracts.errors import Problem, shorten

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
LOGGER = logging.getLogger("shopkeeper.api")


class HttpProblem(Exception):
    """An answer that says what went wrong; `errors` name the fields, `extra` adds members of our own."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: list[dict[str, Any]] | None = None,
        retry_after_s: int | None = None,
        headers: dict[str, str] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.extra = status, detail, errors, extra or {}
        self.headers = dict(headers or {})
        if retry_after_s is None and status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            retry_after_s = RETRY_AFTER_S
        if retry_after_s is not None:
            self.headers["retry-after"] = str(retry_after_s)

    def response(self) -> Response:
        document = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **({"errors": self.errors} if self.errors else {}),
            **self.extra,
        }
        return Response(to_json(document), self.status, self.headers, MEDIA_TYPE)


def to_json(document: Any) -> bytes:
    """UTF-8 JSON; text that is no Unicode (lone surrogates) is replaced, NaN becomes null."""
    try:
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    except (TypeError, ValueError):
        return orjson.dumps(_printable(document))


def field_problem(field: str, problem: str, *, found: object = None, nearest: str | None = None) -> HttpProblem:
    """422 naming one field."""
    error: dict[str, Any] = {"field": field, "problem": problem}
    if found is not None:
        error["found"] = shorten(found)
    if nearest is not None:
        error["nearest"] = nearest
    return HttpProblem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{field}: {problem}", errors=[error])


def unknown_item(item_id: str) -> HttpProblem:
    """404 for an item that the shop lacks."""
    found = shorten(item_id)
    errors = [{"field": "item_id", "problem": "no such item", "found": found}]
    return HttpProblem(HTTPStatus.NOT_FOUND, f"no item {found}", errors=errors)


def input_problem(problems: tuple[Problem, ...], *, field: str | None = None) -> HttpProblem:
    """422 from what our own checks found; `field` is said where they name none."""
    errors = [{"field": problem.field or field, **problem.as_dict()} for problem in problems]
    detail = "; ".join(str(problem) if problem.field or not field else f"{field}: {problem}" for problem in problems)
    return HttpProblem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors)


class ProblemJson:
    """Turns every error answer that is not problem+json into one; for the proxy, whose own errors are plain text."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        replaced = False

        async def send_problem(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and _is_foreign_error(message):
                replaced = True
                await _problem_of(message["status"]).response()(scope, receive, send)
            elif not replaced:
                await send(message)

        await self.app(scope, receive, send_problem)


class NotingSend:
    """Passes messages on and remembers whether the answer has begun."""

    def __init__(self, send: Send) -> None:
        self.send, self.started = send, False

    async def __call__(self, message: Message) -> None:
        self.started = True
        await self.send(message)


class Unexpected:
    """500 for whatever nobody foresaw; what went wrong stays in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        noting = NotingSend(send)
        try:
            await self.app(scope, receive, noting)
        except Exception:
            if noting.started or scope["type"] != "http":
                raise
            LOGGER.exception("unexpected error at %s %s", scope["method"], scope["path"])
            problem = HttpProblem(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong on our side; it is logged")
            await problem.response()(scope, receive, send)


def _is_foreign_error(start: Message) -> bool:
    kinds = [value for name, value in start["headers"] if name.lower() == b"content-type"]
    return start["status"] >= 400 and not any(kind.startswith(MEDIA_TYPE.encode()) for kind in kinds)


def _problem_of(status: int) -> HttpProblem:
    """Serve answers 408 where it gave up waiting; for a client that is a 503 to be tried again."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if status == HTTPStatus.REQUEST_TIMEOUT else status
    return HttpProblem(status, HTTPStatus(status).description or HTTPStatus(status).phrase)


def _printable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(_printable(key)): _printable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(inner) for inner in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return value if value is None or isinstance(value, bool | int | float) else str(value)
