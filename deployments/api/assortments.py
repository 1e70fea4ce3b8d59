"""GET /v1/assortments: which items of a category to list, keep and phase out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi import Request as HttpRequest
from pydantic import BaseModel, Field

from deployments.api.answers import Reason, answer, gateway_of, problem_responses
from deployments.api.fields import Id
from deployments.api.forecasts import ForecastModel
from deployments.gateway import Gateway
from training.models.assortment import Decision, Stage

router = APIRouter(tags=["planning"])


class Expected(BaseModel):
    """Mean, and what 10 and 90 % of outcomes stay below."""

    mean: float
    low: float
    high: float


class AssortedItem(BaseModel):
    item_id: str
    decision: Decision
    stage: Stage = Field(description="Where the item stands in its life")
    expected_units: Expected
    expected_margin: Expected | None = Field(description="(price - cost) x units; null where either is unknown")
    reasons: list[Reason]


class AssortmentAnswer(BaseModel):
    items: list[AssortedItem] = Field(description="Best first by expected margin, by units where no margin is known")
    periods: int = Field(description="How many periods ahead units and margin are of")
    model: ForecastModel


@router.get(
    "/v1/assortments",
    summary="What is worth selling",
    responses={200: {"model": AssortmentAnswer}, **problem_responses(422, 503)},
)
async def get_assortments(
    request: HttpRequest,
    gateway: Annotated[Gateway, Depends(gateway_of)],
    category: Annotated[Id | None, Query()] = None,
    location: Annotated[Id | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Of the catalogue's items with sales, those of a category where one is given."""
    return answer(
        await gateway.planner.assortment(
            category=category, location=location, limit=limit, deadline=request.state.deadline
        )
    )
