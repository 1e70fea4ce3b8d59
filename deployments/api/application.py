"""The HTTP application: every route, every limit, every error as problem+json."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from deployments.api import (
    assortments,
    documentation,
    events,
    forecasts,
    item_images,
    items,
    operations,
    recommendations,
    replenishments,
    sales,
    users,
    visual_search,
)
from deployments.api.answers import FieldError, ProblemAnswer
from deployments.gateway import Gateway
from deployments.middleware.auth import ApiKey, Auth
from deployments.middleware.limits import DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS, MIN_TIMEOUT_MS, TIMEOUT_HEADER, Limits
from deployments.middleware.measure import Measure
from deployments.middleware.problems import HttpProblem, Unexpected, input_problem
from deployments.middleware.request_id import RequestId
from deployments.stages import StageFull
from deployments.state.store import StoreUnavailable
from training.contracts.errors import InputError, nearest, shorten

ROUTERS = (
    recommendations.router, visual_search.router, events.router, item_images.router, items.router, users.router,
    sales.router, forecasts.router, replenishments.router, assortments.router, operations.router,
)  # fmt: skip
TITLE, OPENAPI_URL = "Shopkeeper", "/v1/openapi.json"
ABOUT = (
    f"Every route takes {TIMEOUT_HEADER}, the milliseconds that an answer may take ({MIN_TIMEOUT_MS} to "
    f"{MAX_TIMEOUT_MS}, by default {DEFAULT_TIMEOUT_MS}), and X-Request-ID (1 to 64 of A-Za-z0-9._-), which the answer "
    "repeats. Errors are application/problem+json (RFC 9457)."
)
LOGGER = logging.getLogger("shopkeeper.api")


def create_api(gateway: Gateway, *, keys: Sequence[ApiKey] = ()) -> FastAPI:
    """The application around one gateway, which runs while the application does."""

    request = gateway.config.request

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with gateway.running():
            yield

    api = FastAPI(
        title=TITLE,
        version="1",
        summary="The intelligence of an online shop",
        description=ABOUT,
        openapi_url=OPENAPI_URL,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,
        lifespan=lifespan,
        exception_handlers=HANDLERS,
        middleware=[
            Middleware(RequestId),
            Middleware(Measure, telemetry=gateway.telemetry),
            Middleware(Unexpected),
            Middleware(Auth, keys=keys),
            Middleware(Limits, max_in_flight=request.max_in_flight, photo_bytes=request.photos_mb * 1_000_000),
        ],
    )
    api.state.gateway = gateway
    for router in ROUTERS:
        api.include_router(router)
    documentation.add_pages(api, schemas=(ProblemAnswer, FieldError))
    return api


async def _http_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HttpProblem)
    return error.response()


async def _http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own: no such route, method not allowed, a body that cannot be parsed."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus.UNPROCESSABLE_ENTITY if error.status_code == HTTPStatus.BAD_REQUEST else error.status_code
    detail = str(error.detail)
    if status == HTTPStatus.NOT_FOUND:
        detail = f"no route {request.method} {shorten(request.url.path)}; see {OPENAPI_URL} and /v1/docs"
    errors = [{"field": "body", "problem": detail}] if status == HTTPStatus.UNPROCESSABLE_ENTITY else None
    return HttpProblem(status, detail, errors=errors, headers=dict(error.headers or {})).response()


async def _validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_field_error(finding) for finding in error.errors()]
    detail = "; ".join(f"{found['field']}: {found['problem']}" for found in errors)
    return HttpProblem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors).response()


async def _input_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, InputError)
    return input_problem(error.problems).response()


async def _store_unavailable(_: Request, error: Exception) -> Response:
    LOGGER.error("the store did not do what was asked: %s", error)
    return HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, "the shop's state cannot be reached now").response()


async def _stage_full(_: Request, error: Exception) -> Response:
    return HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)).response()


HANDLERS: dict[Any, Any] = {
    HttpProblem: _http_problem,
    HTTPException: _http_exception,
    RequestValidationError: _validation,
    InputError: _input_error,
    StoreUnavailable: _store_unavailable,
    StageFull: _stage_full,
}


def _field_error(finding: dict[str, Any]) -> dict[str, Any]:
    """One finding of pydantic, its field named without the part of the request it stood in."""
    source, *place = finding["loc"]
    if finding["type"] == "json_invalid":
        return {"field": "body", "problem": f"not JSON at character {place[0]}: {finding['ctx']['error']}"}
    field = shorten(".".join(str(part) for part in place) or str(source))
    if finding["type"] == "extra_forbidden":
        near = nearest(str(place[-1]), [name for name in _fields(place[:-1]) if name != place[-1]])
        return {"field": field, "problem": "unknown field", **({"nearest": near} if near else {})}
    problem = finding["msg"].removeprefix("Value error, ")
    found = {} if finding["type"] == "missing" else {"found": shorten(finding["input"])}
    return {"field": field, "problem": problem, **found}


def _fields(parents: Sequence[Any]) -> list[str]:
    """The names that the request models have at this depth."""
    nested: tuple[type[BaseModel], ...] = (recommendations.Exclude, forecasts.SeriesIn, replenishments.PositionIn)
    flat = (
        recommendations.RecommendationsIn, recommendations.SimilarIn, recommendations.RankingsIn, users.MergeIn,
        visual_search.VisualSearchIn, forecasts.ForecastsIn, replenishments.ReplenishmentsIn,
    )  # fmt: skip
    return [name for model in (nested if parents else flat) for name in model.model_fields]
