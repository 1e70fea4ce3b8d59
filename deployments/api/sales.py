"""POST /v1/sales: periods of demand, and future rows that carry what is known ahead."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi import Request as HttpRequest
from pydantic import ConfigDict, Field, StringConstraints, model_validator

from deployments.api.answers import UpsertAnswer, answer, gateway_of, problem_responses
from deployments.api.fields import Id, Request, Time
from deployments.api.rows import body_of, check_rows, read_rows
from deployments.gateway import Gateway

router = APIRouter(tags=["shop"])
EXAMPLE = {
    "series_id": "i000042@vienna", "item_id": "i000042", "location": "vienna", "timestamp": "2026-06-29T00:00:00Z",
    "demand": 17.0, "price": 249.0, "promotion": 0.0, "temperature": 24.5,
}  # fmt: skip
MAX_COVARIATES = 100


class SaleIn(Request):
    """A row of the sales table; demand null = a future row; any further column is a covariate."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    series_id: Id
    item_id: Id | None = None
    location: Id | None = None
    timestamp: Time
    demand: float | None = None
    price: Annotated[float, Field(ge=0)] | None = None
    promotion: float | None = None
    split: Annotated[str, StringConstraints(max_length=64)] | None = None

    @model_validator(mode="after")
    def _scalar_covariates(self) -> SaleIn:
        covariates: dict[str, Any] = self.model_extra or {}
        if len(covariates) > MAX_COVARIATES:
            raise ValueError(f"more than {MAX_COVARIATES} covariates")
        for name, value in covariates.items():
            if not (value is None or isinstance(value, bool | int | float | str)):
                raise ValueError(f"{name}: a covariate is a number, a text, true, false or null")
        return self


@router.post(
    "/v1/sales",
    summary="Send sales",
    responses={200: {"model": UpsertAnswer}, **problem_responses(413, 415, 422, 503)},
    openapi_extra=body_of("sales", SaleIn, EXAMPLE),
)
async def post_sales(request: HttpRequest, gateway: Annotated[Gateway, Depends(gateway_of)]) -> Response:
    """1 to 1000 rows; the last one written for a series and a period wins."""
    rows = await read_rows(request, "sales")
    good, rejected = check_rows(rows, SaleIn)
    await gateway.in_store(gateway.store.append_sales, [sale.model_dump(exclude_unset=True) for _, sale in good])
    return answer({"upserted": len(good), "stale": 0, "rejected": rejected})
