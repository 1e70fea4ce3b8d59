"""The live catalogue: partial updates merge, stock 0 never leaves from then on."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from fastapi import Request as HttpRequest
from pydantic import Field, StringConstraints

from deployments.api.answers import UpsertAnswer, answer, gateway_of, problem_responses
from deployments.api.fields import MAX_ID, Id, Request, Text, Time
from deployments.api.rows import body_of, check_rows, read_rows
from deployments.gateway import Gateway
from deployments.middleware.problems import unknown_item
from deployments.state.records import Row, Upserted

router = APIRouter(tags=["shop"])
EXAMPLE = {
    "item_id": "i000042", "title": "Oak desk", "category": ["Home", "Office", "Desks"], "brand": "Nordwood",
    "price": 249.0, "currency": "EUR", "stock": 12, "attributes": {"colour": "oak"}, "tags": ["standing"],
}  # fmt: skip
Amount = Annotated[float, Field(ge=0)]
Labels = Annotated[list[Annotated[str, StringConstraints(max_length=1024)]], Field(max_length=200)]
ItemId = Annotated[Id, Path(examples=["i000042"])]


class ItemIn(Request):
    """A partial row of the items table; a field that is absent stays, one that is null is cleared."""

    item_id: Id
    title: Text | None = None
    description: Text | None = None
    category: Labels | None = None
    brand: Annotated[str, StringConstraints(max_length=1024)] | None = None
    price: Amount | None = None
    currency: Annotated[str, StringConstraints(max_length=16)] | None = None
    cost: Amount | None = None
    stock: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    attributes: (
        Annotated[
            dict[
                Annotated[str, StringConstraints(max_length=MAX_ID)],
                Annotated[str, StringConstraints(max_length=4096)] | None,
            ],
            Field(max_length=200),
        ]
        | None
    ) = None
    tags: Labels | None = None
    created_at: Time | None = None
    updated_at: Time | None = None

    def patch(self) -> Row:
        return self.model_dump(exclude_unset=True)


@router.put(
    "/v1/items",
    summary="Add or change items",
    responses={200: {"model": UpsertAnswer}, **problem_responses(413, 415, 422, 503)},
    openapi_extra=body_of("items", ItemIn, EXAMPLE),
)
async def put_items(request: HttpRequest, gateway: Annotated[Gateway, Depends(gateway_of)]) -> Response:
    """1 to 1000 partial items. Attributes merge by key, null clears, an older `updated_at` is ignored."""
    rows = await read_rows(request, "items")
    good, rejected = check_rows(rows, ItemIn)
    outcomes = await gateway.upsert_items([item.patch() for _, item in good])
    return answer({
        "upserted": outcomes.count(Upserted.UPSERTED), "stale": outcomes.count(Upserted.STALE), "rejected": rejected,
    })  # fmt: skip


@router.get(
    "/v1/items/{item_id:path}",
    summary="One item",
    responses={200: {"content": {"application/json": {"example": EXAMPLE}}}, **problem_responses(404, 422)},
)
async def get_item(item_id: ItemId, gateway: Annotated[Gateway, Depends(gateway_of)]) -> Response:
    """The item as it is now, flat; null fields are left out."""
    item: dict[str, Any] | None = await gateway.in_store(gateway.store.item, item_id)
    if item is None:
        raise unknown_item(item_id)
    return answer(item)


@router.delete(
    "/v1/items/{item_id:path}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Remove an item",
    responses=problem_responses(404, 422),
)
async def delete_item(item_id: ItemId, gateway: Annotated[Gateway, Depends(gateway_of)]) -> Response:
    """It is recommended no more; its events stay."""
    if not await gateway.delete_item(item_id):
        raise unknown_item(item_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)
