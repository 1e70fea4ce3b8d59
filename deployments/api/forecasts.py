"""POST /v1/forecasts: demand of series, period by period, and what it would be under other prices or promotions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi import Request as HttpRequest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployments.api.answers import answer, gateway_of, problem_responses
from deployments.api.fields import Id, Request, Time
from deployments.gateway import Gateway
from deployments.messages import AskedSeries, GivenCovariates
from deployments.state.clock import to_us

router = APIRouter(tags=["planning"])
EXAMPLE: dict[str, Any] = {
    "series": [{"series_id": "i000042@vienna"}, {"item_id": "i000007"}], "horizon": 4, "quantiles": [0.1, 0.5, 0.9],
    "covariates": [{"series_id": "i000042@vienna", "timestamp": "2026-07-06T00:00:00Z", "price": 199.0}],
}  # fmt: skip
MOST_SERIES, MOST_PERIODS = 1000, 100_000
Level = Annotated[float, Field(gt=0, lt=1)]


class SeriesIn(Request):
    """A series by its own id, or by its item and location."""

    series_id: Id | None = None
    item_id: Id | None = None
    location: Id | None = None

    @model_validator(mode="after")
    def _named(self) -> SeriesIn:
        if (self.series_id is None) == (self.item_id is None):
            raise ValueError("give series_id, or item_id with its location")
        if self.series_id is not None and self.location is not None:
            raise ValueError("a series_id has its location")
        return self

    def asked(self) -> AskedSeries:
        return AskedSeries(self.series_id, self.item_id, self.location)


class CovariatesIn(Request):
    """What is known of one period ahead; any further field is a covariate."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    series_id: Id
    timestamp: Time

    @model_validator(mode="after")
    def _numbers(self) -> CovariatesIn:
        values: dict[str, Any] = self.model_extra or {}
        if not values:
            raise ValueError("no covariate is given")
        for name, value in values.items():
            if not isinstance(value, bool | int | float):
                raise ValueError(f"{name}: must be a number")
        return self

    def given(self) -> GivenCovariates:
        values = {name: float(value) for name, value in (self.model_extra or {}).items()}
        return GivenCovariates(self.series_id, to_us(self.timestamp), values)


class ForecastsIn(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    series: Annotated[list[SeriesIn], Field(min_length=1, max_length=MOST_SERIES)]
    horizon: Annotated[int, Field(ge=1)] | None = None
    quantiles: Annotated[list[Level], Field(min_length=1, max_length=20)] | None = None
    covariates: Annotated[list[CovariatesIn], Field(max_length=MOST_PERIODS, default_factory=list)]


class Step(BaseModel):
    timestamp: datetime = Field(description="The start of the period")
    mean: float
    quantiles: dict[str, float]


class SeriesForecastAnswer(BaseModel):
    series_id: str
    model: str = Field(description="The member that answered; with covariates given, one that uses them")
    steps: list[Step]


class ForecastModel(BaseModel):
    name: str
    version: str
    backtest: dict[str, float] = Field(description="wape, and naive_wape of the last value, on held-out periods")


class ForecastsAnswer(BaseModel):
    forecasts: list[SeriesForecastAnswer]
    model: ForecastModel


@router.post(
    "/v1/forecasts",
    summary="Forecast demand",
    responses={200: {"model": ForecastsAnswer}, **problem_responses(413, 415, 422, 503)},
)
async def post_forecasts(
    ask: ForecastsIn, request: HttpRequest, gateway: Annotated[Gateway, Depends(gateway_of)]
) -> Response:
    """By default as far as the model was trained for. Sales sent since the training count at once.

    Covariates that are not given come from the shop's own future rows, then from each one's missing-value policy.
    """
    return answer(
        await gateway.planner.forecasts(
            [one.asked() for one in ask.series],
            horizon=ask.horizon,
            quantiles=ask.quantiles or (),
            covariates=[one.given() for one in ask.covariates],
            deadline=request.state.deadline,
        )
    )
