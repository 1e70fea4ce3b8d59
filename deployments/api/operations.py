"""What operators ask: does it live, is it ready, what is served, how does it do."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from deployments.api.answers import ModelsAnswer, ReadyAnswer, answer, gateway_of, problem_responses
from deployments.gateway import Gateway
from deployments.middleware.problems import HttpProblem

router = APIRouter(tags=["operations"])
ALIVE = {"status": "alive"}
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@router.get(
    "/healthz", summary="The process lives", responses={200: {"content": {"application/json": {"example": ALIVE}}}}
)
async def healthz() -> Response:
    return answer(ALIVE)


@router.get(
    "/readyz", summary="Recommendations are served", responses={200: {"model": ReadyAnswer}, **problem_responses(503)}
)
async def readyz(gateway: Annotated[Gateway, Depends(gateway_of)]) -> Response:
    """200 once recommendations are served; `missing` names the jobs not trained yet."""
    status = gateway.status()
    if not status["ready"]:
        raise HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, gateway.not_ready(), extra=status)
    return answer(status)


@router.get("/v1/models", summary="What is served", responses={200: {"model": ModelsAnswer}})
async def models(gateway: Annotated[Gateway, Depends(gateway_of)]) -> Response:
    """The release and every model in it, with its held-out metrics and those of its baselines."""
    return answer(gateway.models())


@router.get(
    "/metrics",
    summary="Prometheus text of this node",
    responses={200: {"content": {"text/plain": {"example": "shopkeeper_requests_total 12\n"}}}},
)
async def metrics(gateway: Annotated[Gateway, Depends(gateway_of)]) -> Response:
    text = await asyncio.to_thread(gateway.telemetry.text)
    return Response(text, headers={"content-type": METRICS_TYPE})
