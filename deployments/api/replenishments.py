"""POST /v1/replenishments: how much of each item to order now, from the demand that is forecast."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi import Request as HttpRequest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployments.api.answers import answer, gateway_of, problem_responses
from deployments.api.fields import Id, Request
from deployments.api.forecasts import ForecastModel
from deployments.gateway import Gateway
from deployments.messages import AskedSeries
from training.models.replenishment import Policy, Position

router = APIRouter(tags=["planning"])
EXAMPLE: dict[str, Any] = {
    "items": [
        {"item_id": "i000042", "on_hand": 12, "lead_time_days": 14, "review_period_days": 7, "service_level": 0.95}
    ]
}  # fmt: skip
Cost = Annotated[float, Field(gt=0)]
Days = Annotated[float, Field(ge=0, le=3650)]


class PositionIn(Request):
    """Costs are of a unit; holding_cost of a unit for a day."""

    item_id: Id
    location: Id | None = None
    on_hand: float
    on_order: Annotated[float, Field(ge=0)] = 0.0
    lead_time_days: Days
    review_period_days: Days
    service_level: Annotated[float, Field(gt=0, lt=1)] | None = None
    holding_cost: Cost | None = None
    stockout_cost: Cost | None = None
    order_cost: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _aims(self) -> PositionIn:
        if self.service_level is None and (self.holding_cost is None or self.stockout_cost is None):
            raise ValueError("give service_level, or holding_cost and stockout_cost")
        if self.lead_time_days + self.review_period_days <= 0:
            raise ValueError("lead_time_days and review_period_days are both 0: there is nothing to wait for")
        if self.order_cost and self.holding_cost is None:
            raise ValueError("order_cost needs a holding_cost to be weighed against")
        return self

    def position(self) -> Position:
        return Position(**self.model_dump(exclude={"item_id", "location"}))


class ReplenishmentsIn(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    items: Annotated[list[PositionIn], Field(min_length=1, max_length=1000)]


class OrderAnswer(BaseModel):
    item_id: str
    location: str | None
    series_id: str
    policy: Policy
    order_quantity: float
    reorder_point: float = Field(description="Stock, with what is on order, below which to order")
    order_up_to: float
    expected_stockout: float = Field(description="Units short before the next order can arrive, having ordered this")
    service_level: float


class ReplenishmentsAnswer(BaseModel):
    items: list[OrderAnswer]
    model: ForecastModel


@router.post(
    "/v1/replenishments",
    summary="What to order",
    responses={200: {"model": ReplenishmentsAnswer}, **problem_responses(413, 415, 422, 503)},
)
async def post_replenishments(
    ask: ReplenishmentsIn, request: HttpRequest, gateway: Annotated[Gateway, Depends(gateway_of)]
) -> Response:
    """(s, S) with EOQ where an order costs, newsvendor where delivery is at once, else base stock."""
    series = [AskedSeries(None, one.item_id, one.location) for one in ask.items]
    positions = [one.position() for one in ask.items]
    return answer(await gateway.planner.replenishments(series, positions, request.state.deadline))
