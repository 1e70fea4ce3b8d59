"""POST /v1/events: behaviour, durable once acknowledged, seen by the user's next request."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi import Request as HttpRequest
from pydantic import Field, field_validator

from deployments.api.answers import EventsAnswer, answer, gateway_of, problem_responses
from deployments.api.fields import Context, Id, Request, Text, Time
from deployments.api.rows import Rejected, body_of, check_rows, read_rows
from deployments.gateway import Gateway
from deployments.state.clock import to_us
from deployments.state.events import EventRow, Outcome
from training.contracts.errors import nearest
from training.contracts.tables import EVENT_TYPES, valid_event_type

router = APIRouter(tags=["shop"])
EXAMPLE = {
    "event_id": "e-1", "type": "view", "user_id": "u000001", "session_id": "s-1", "item_id": "i000042",
    "timestamp": "2026-06-30T12:00:00Z", "dwell_s": 12.5, "context": {"device": "phone"},
}  # fmt: skip
AHEAD = timedelta(days=1)


class EventIn(Request):
    """One row of the events table as clients send it; without a timestamp it happened now."""

    event_id: Id | None = None
    type: Id
    user_id: Id
    session_id: Id | None = None
    item_id: Id | None = None
    timestamp: Time | None = None
    value: float | None = None
    quantity: float | None = None
    dwell_s: Annotated[float, Field(ge=0)] | None = None
    query: Text | None = None
    recommendation_id: Id | None = None
    position: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    context: Context | None = None

    @field_validator("type")
    @classmethod
    def _known(cls, value: str) -> str:
        if not valid_event_type(value):
            near = nearest(value, EVENT_TYPES)
            raise ValueError(
                f"must be one of {', '.join(EVENT_TYPES)} or custom:NAME" + (f"; did you mean {near}" if near else "")
            )
        return value

    def row(self, received_at_us: int) -> EventRow:
        return EventRow(
            user_id=self.user_id, type=self.type, item_id=self.item_id,
            timestamp_us=None if self.timestamp is None else to_us(self.timestamp),
            event_id=self.event_id, session_id=self.session_id, value=self.value, quantity=self.quantity,
            dwell_s=self.dwell_s, query=self.query, recommendation_id=self.recommendation_id,
            position=self.position, context=self.context or None, received_at_us=received_at_us,
        )  # fmt: skip


@router.post(
    "/v1/events",
    status_code=HTTPStatus.ACCEPTED,
    summary="Send behaviour events",
    responses={202: {"model": EventsAnswer}, **problem_responses(413, 415, 422, 503)},
    openapi_extra=body_of("events", EventIn, EXAMPLE, ndjson=True),
)
async def post_events(request: HttpRequest, gateway: Annotated[Gateway, Depends(gateway_of)]) -> Response:
    """1 to 1000 events as JSON, or one per line as NDJSON. A 202 means that the accepted ones are on disk.

    The same (user_id, event_id) counts once within 30 days; another payload under it is rejected.
    """
    rows = await read_rows(request, "events")
    good, rejected = check_rows(rows, EventIn)
    latest = gateway.latest_time() + AHEAD
    good, late = _split_late(good, latest)
    outcomes = await gateway.take_events([event.row(gateway.clock.now_us()) for _, event in good])
    conflicts: list[Rejected] = [
        {"index": index, "problem": "event_id: is held already with another payload"}
        for (index, _), outcome in zip(good, outcomes, strict=True)
        if outcome is Outcome.CONFLICT
    ]
    rejected = sorted([*rejected, *late, *conflicts], key=lambda row: row["index"])
    gateway.telemetry.count("events", len(rejected), outcome="rejected")
    body: dict[str, Any] = {
        "accepted": outcomes.count(Outcome.ACCEPTED),
        "duplicates": outcomes.count(Outcome.DUPLICATE),
        "rejected": rejected,
    }
    return answer(body, HTTPStatus.ACCEPTED)


def _split_late(good: list[tuple[int, EventIn]], latest: datetime) -> tuple[list[tuple[int, EventIn]], list[Rejected]]:
    """Events that claim to be of the far future are rejected."""
    late = {index for index, event in good if event.timestamp is not None and event.timestamp > latest}
    problem = f"timestamp: is after {latest:%Y-%m-%dT%H:%M:%SZ}, a day from now"
    kept = [(index, event) for index, event in good if index not in late]
    return kept, [{"index": index, "problem": problem} for index in sorted(late)]
