"""Requests that carry rows: the envelope is all or nothing, a bad row is rejected by itself."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError
from starlette.requests import Request as HttpRequest

from deployments.api.fields import Request
from deployments.middleware.bodies import JSON, NDJSON
from deployments.middleware.problems import HttpProblem, field_problem
from training.contracts.errors import nearest, shorten

MAX_ROWS = 1000
R = TypeVar("R", bound=Request)
Rejected = dict[str, Any]


class Unreadable:
    """A line of NDJSON that is no JSON."""

    def __init__(self, problem: str) -> None:
        self.problem = problem


async def read_rows(request: HttpRequest, key: str) -> list[Any]:
    """The list under `key`, or the lines of an NDJSON body; raises HttpProblem 422 naming what is wrong."""
    body = await request.body()
    kind = request.headers.get("content-type", JSON)
    rows = _lines(body) if "ndjson" in kind.lower() else _listed(_parse(body), key)
    if not 1 <= len(rows) <= MAX_ROWS:
        raise field_problem(key, f"must hold 1 to {MAX_ROWS} rows", found=len(rows))
    return rows


def check_rows(rows: Sequence[Any], model: type[R]) -> tuple[list[tuple[int, R]], list[Rejected]]:
    """The good rows with their index, and the bad ones with their problem."""
    good: list[tuple[int, R]] = []
    rejected: list[Rejected] = []
    for index, row in enumerate(rows):
        try:
            good.append((index, model.model_validate(row)))
        except ValidationError as error:
            problem = row.problem if isinstance(row, Unreadable) else describe(error, model)
            rejected.append({"index": index, "problem": problem})
    return good, rejected


def describe(error: ValidationError, model: type[Request]) -> str:
    """Every finding of one row in a line, each named by its field."""
    return "; ".join(_finding(dict(finding), model) for finding in error.errors(include_url=False))


def _finding(finding: dict[str, Any], model: type[Request]) -> str:
    place = ".".join(str(part) for part in finding["loc"] if part != "[key]")
    if finding["type"] == "extra_forbidden":
        near = nearest(str(finding["loc"][-1]), model.model_fields)
        return f"{shorten(place)}: unknown field" + (f"; did you mean {near}" if near else "")
    text = finding["msg"].removeprefix("Value error, ")
    return f"{shorten(place)}: {text}" if place else text


def body_of(key: str, model: type[Request], example: dict[str, Any], *, ndjson: bool = False) -> dict[str, Any]:
    """OpenAPI of such a request: rows are checked one by one, so FastAPI cannot describe it by itself."""
    row = model.model_json_schema()
    row.pop("$defs", None)
    envelope = {
        "type": "object",
        "properties": {key: {"type": "array", "items": row, "minItems": 1, "maxItems": MAX_ROWS}},
        "required": [key],
        "additionalProperties": False,
    }
    content: dict[str, Any] = {JSON: {"schema": envelope, "example": {key: [example]}}}
    if ndjson:
        content[NDJSON] = {"schema": {"type": "string"}, "example": orjson.dumps(example).decode() + "\n"}
    return {"requestBody": {"required": True, "content": content}}


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HttpProblem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"the body is not JSON: {error}",
            errors=[{"field": "body", "problem": f"not JSON: {error}"}],
        ) from None


def _listed(document: Any, key: str) -> list[Any]:
    if not isinstance(document, dict):
        raise field_problem("body", f'must be an object {{"{key}": [...]}}')
    unknown = next((name for name in document if name != key), None)
    if unknown is not None:
        raise field_problem(shorten(unknown), "unknown field", nearest=nearest(unknown, [key]))
    if key not in document:
        raise field_problem(key, "is missing")
    if not isinstance(document[key], list):
        raise field_problem(key, "must be a list", found=document[key])
    rows: list[Any] = document[key]
    return rows


def _lines(body: bytes) -> list[Any]:
    return [_line(line) for line in body.split(b"\n") if line.strip()]


def _line(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Unreadable(f"not JSON: {error}")
