"""Recommendations, similar items and rankings."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Depends, Response
from fastapi import Request as HttpRequest
from pydantic import Field

from deployments.api.answers import SlateAnswer, answer, gateway_of, problem_responses
from deployments.api.fields import Context, Filter, Id, Limit, Request
from deployments.gateway import Gateway

router = APIRouter(tags=["recommendations"])
RESPONSES = {200: {"model": SlateAnswer}, **problem_responses(413, 415, 422, 503)}
Part = Annotated[float, Field(ge=0, le=1)]
Items = Annotated[list[Id], Field(max_length=1000)]


class Exclude(Request):
    """What to leave out. `seen`: every item of the user's history; null follows the shop (`repeats`)."""

    item_ids: Items = Field(default_factory=list)
    seen: bool | None = None
    purchased_days: Annotated[int, Field(ge=0, le=3650)] = 30


class RecommendationsIn(Request):
    """`item_ids` is the context: the product looked at, the cart."""

    user_id: Id
    session_id: Id | None = None
    scenario: Literal["home", "product", "cart", "category"] = "home"
    item_ids: Items = Field(default_factory=list)
    limit: Limit = 10
    filter: Filter | None = None
    exclude: Exclude = Exclude()
    diversity: Part = 0
    exploration: Part = 0
    explain: bool = False
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    context: Context | None = None
    cursor: Annotated[str, Field(max_length=20_000)] | None = None


class SimilarIn(Request):
    item_id: Id
    user_id: Id | None = None
    limit: Limit = 10
    filter: Filter | None = None


class RankingsIn(Request):
    user_id: Id
    item_ids: Annotated[list[Id], Field(min_length=1, max_length=500)]
    context: Context | None = None


@router.post("/v1/recommendations", summary="What to show this user", responses=RESPONSES)
async def post_recommendations(
    request: HttpRequest,
    body: Annotated[
        RecommendationsIn,
        Body(
            examples=[
                {"user_id": "u000001", "limit": 10, "filter": "price <= 50 and not brand = 'Acme'", "explain": True}
            ]
        ),
    ],
    gateway: Annotated[Gateway, Depends(gateway_of)],
) -> Response:
    """Personal, in stock, within the filter; an unknown user is a cold start. Fewer may come back, never a wrong one.

    `exploration` is the probability of drawing a place evenly from the candidates; `propensity` says how likely
    each item was at its place, given those above it. `cursor` brings the next page, without repeats.
    """
    return answer(await gateway.slates.recommend(body, request.state.deadline))


@router.post("/v1/similar-items", summary="Items like this one", responses={**RESPONSES, **problem_responses(404)})
async def post_similar_items(
    request: HttpRequest,
    body: Annotated[SimilarIn, Body(examples=[{"item_id": "i000042", "limit": 5}])],
    gateway: Annotated[Gateway, Depends(gateway_of)],
) -> Response:
    """Nearest by the retriever's item vectors, in stock and within the filter."""
    return answer(await gateway.slates.similar(body, request.state.deadline))


@router.post("/v1/rankings", summary="These items, best first for this user", responses=RESPONSES)
async def post_rankings(
    request: HttpRequest,
    body: Annotated[RankingsIn, Body(examples=[{"user_id": "u000001", "item_ids": ["i000001", "i000002", "i000042"]}])],
    gateway: Annotated[Gateway, Depends(gateway_of)],
) -> Response:
    """All of the given items come back, ranked; one that the catalogue lacks is a 422."""
    return answer(await gateway.slates.rank(body, request.state.deadline))
