"""PUT /v1/items/{item_id}/images: pictures of an item, found by visual search within a second."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Response
from fastapi import Request as HttpRequest
from pydantic import BaseModel, Field

from deployments.api.answers import answer, gateway_of, problem_responses
from deployments.api.fields import Id, Request
from deployments.api.forms import checked, read_form
from deployments.gateway import Gateway
from deployments.middleware.bodies import MULTIPART

router = APIRouter(tags=["shop"])
IMAGES = "images"
MAX_FILES = 10


class NoFields(Request):
    """Nothing goes with the pictures."""


class ImageStatus(BaseModel):
    index: int = Field(description="The place of the file in the request, from 0")
    status: Literal["stored", "unchanged", "rejected", "late"]
    image_id: str | None = None
    problem: str | None = None


class ItemImagesAnswer(BaseModel):
    item_id: str
    images: list[ImageStatus]


def _request_body() -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    schema = {
        "type": "object",
        "properties": {IMAGES: {"type": "array", "items": file, "minItems": 1, "maxItems": MAX_FILES}},
        "required": [IMAGES],
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {MULTIPART: {"schema": schema}}}}


@router.put(
    "/v1/items/{item_id:path}/images",
    summary="Add pictures of an item",
    responses={200: {"model": ItemImagesAnswer}, **problem_responses(404, 413, 415, 422, 429, 503)},
    openapi_extra=_request_body(),
)
async def put_item_images(
    item_id: Annotated[Id, Path(examples=["i000042"])],
    request: HttpRequest,
    gateway: Annotated[Gateway, Depends(gateway_of)],
) -> Response:
    """`-F images=@front.jpg -F images=@back.jpg`: 1 to 10 files, 50 MB together, each judged by itself.

    They are added to those the item has, up to 20; the same picture again changes nothing. Only pixels are kept, the
    longer side below 1,280: no metadata, no other content of the file. They go when the item is deleted. Those that
    there was no time for are `late`: send them again, or allow more time for all by X-Timeout-Ms.
    """
    files, fields = await read_form(request, IMAGES, most_files=MAX_FILES)
    checked(NoFields, fields, texts=True)
    return answer({"item_id": item_id, "images": await gateway.photos.keep(item_id, files, request.state.deadline)})
