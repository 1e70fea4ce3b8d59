"""The fields that requests share: ids, times, context, and the base of every request model."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

MAX_ID = 256
MAX_CONTEXT_KEYS = 50
MAX_TEXT = 100_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Request(BaseModel):
    """Strict: unknown fields, numbers as text and NaN are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _parse_time(value: Any) -> Any:
    """ISO 8601; no offset = UTC."""
    if value is None or isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError("must be an ISO 8601 time such as 2026-06-30T12:00:00Z")
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be an ISO 8601 time such as 2026-06-30T12:00:00Z") from None


def _past_epoch(value: Any) -> Any:
    moment = _parse_time(value)
    if moment is not None and moment < EPOCH:
        raise ValueError("is before 1970")
    return moment


def _printable(value: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError("has a control character")
    return value


Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID), AfterValidator(_printable)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Time = Annotated[datetime, BeforeValidator(_past_epoch), WithJsonSchema({"type": "string", "format": "date-time"})]
Context = Annotated[
    dict[Annotated[str, StringConstraints(max_length=MAX_ID)], Annotated[str, StringConstraints(max_length=4096)]],
    Field(max_length=MAX_CONTEXT_KEYS),
]
Limit = Annotated[int, Field(ge=1, le=200)]
Filter = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
