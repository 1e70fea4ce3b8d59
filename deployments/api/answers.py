"""What the routes answer: documented as models, sent as ready JSON bytes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel, Field

from deployments.gateway import Gateway
from deployments.middleware.problems import MEDIA_TYPE, to_json


class RejectedRow(BaseModel):
    index: int
    problem: str


class EventsAnswer(BaseModel):
    accepted: int
    duplicates: int
    rejected: list[RejectedRow]


class UpsertAnswer(BaseModel):
    upserted: int
    stale: int
    rejected: list[RejectedRow]


class MergeAnswer(BaseModel):
    user_id: str
    anonymous_id: str


class Reason(BaseModel):
    code: str
    text: str


class RankedItem(BaseModel):
    item_id: str
    rank: int
    score: float = Field(description="What the answer is ordered by: P(chosen among the candidates), by a ranker")
    probabilities: dict[str, float] = Field(
        description="P(click), P(cart) and P(purchase) once shown, by a trained ranker's calibrated heads; else empty"
    )
    reasons: list[Reason]
    propensity: float = Field(description="The probability of this item at this rank, given the items above it")


class ServedModel(BaseModel):
    role: str
    name: str
    version: str


class SlateAnswer(BaseModel):
    recommendation_id: str
    items: list[RankedItem]
    models: list[ServedModel]
    release: str
    degraded: list[str] = Field(description="Stages this answer had to do without; empty in normal running")
    freshness_ms: float = Field(
        description="Age of the oldest view of the catalogue that went into the answer; "
        "the user's own events are read at the time of the request"
    )
    took_ms: float
    unknown_items: int | None = Field(default=None, description="How many of the context items the catalogue lacks")
    cursor: str | None = None


class ModelAnswer(ServedModel):
    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    trained_at: str


class ModelsAnswer(BaseModel):
    release: str | None
    models: list[ModelAnswer]


class ReadyAnswer(BaseModel):
    ready: bool
    missing: list[str]
    release: str | None
    deployments: list[dict[str, Any]]


class FieldError(BaseModel):
    field: str | None = None
    problem: str
    found: str | None = None
    nearest: str | None = None


class ProblemAnswer(BaseModel):
    """RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None


def answer(document: Any, status: int = HTTPStatus.OK) -> Response:
    """JSON bytes made once, past FastAPI's own serialisation."""
    return Response(to_json(document), status, media_type="application/json")


def gateway_of(request: Request) -> Gateway:
    """The gateway this application was made for."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI of the errors a route can answer."""
    schema = {"$ref": "#/components/schemas/ProblemAnswer"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }
