"""POST /v1/visual-search: a shopper's photo, the articles in it, the shop's nearest items."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi import Request as HttpRequest
from pydantic import BaseModel, Field, StringConstraints

from deployments.api.answers import ServedModel, answer, gateway_of, problem_responses
from deployments.api.fields import Filter, Limit, Request
from deployments.api.forms import checked, is_form, read_form, read_json
from deployments.gateway import Gateway
from deployments.middleware.bodies import JSON, MULTIPART

router = APIRouter(tags=["recommendations"])
IMAGE, BASE64 = "image", "image_base64"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
EXAMPLE = {BASE64: PIXEL, "limit": 5, "filter": "price <= 50", "max_detections": 3}
Share = Annotated[float, Field(ge=0, le=1)]


class VisualSearchIn(Request):
    """What goes with the photo."""

    limit: Limit = 10
    filter: Filter | None = None
    max_detections: Annotated[int, Field(ge=0, le=20)] = 5
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)] | None = None
    text_weight: Share = 0.5


class BoxAnswer(BaseModel):
    x0: Share
    y0: Share
    x1: Share
    y1: Share


class FoundItem(BaseModel):
    item_id: str
    score: float = Field(description="Likeness of what is in the box and the item's nearest picture; orders one answer")


class Detection(BaseModel):
    box: BoxAnswer
    label: str | None
    score: float
    items: list[FoundItem]


class VisualSearchAnswer(BaseModel):
    detections: list[Detection] = Field(description="Best first; the last one is always the whole photo")
    models: list[ServedModel]
    release: str
    took_ms: float


def _request_body() -> dict[str, Any]:
    """OpenAPI of both forms: FastAPI describes one kind by itself, never a choice."""
    fields = VisualSearchIn.model_json_schema()["properties"]
    file = {"type": "string", "format": "binary"}
    text = {"type": "string", "contentEncoding": "base64"}
    return {
        "requestBody": {
            "required": True,
            "content": {
                MULTIPART: {"schema": _object({IMAGE: file, **fields}, IMAGE)},
                JSON: {"schema": _object({BASE64: text, **fields}, BASE64), "example": EXAMPLE},
            },
        }
    }


def _object(properties: dict[str, Any], required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [required], "additionalProperties": False}


@router.post(
    "/v1/visual-search",
    summary="What is in this photo, and what looks like it",
    responses={200: {"model": VisualSearchAnswer}, **problem_responses(413, 415, 422, 429, 503)},
    openapi_extra=_request_body(),
)
async def post_visual_search(request: HttpRequest, gateway: Annotated[Gateway, Depends(gateway_of)]) -> Response:
    """`-F image=@photo.jpg`, or JSON with `image_base64`; in stock and within the filter, as recommendations are.

    JPEG, PNG or WEBP by content, at most 10 MB, 10,000 pixels a side and 40 megapixels together; of an animation the
    first frame. The photo is not kept, and no address is ever fetched. With `text`, items are ordered by
    (1 - text_weight) x the likeness of their pictures + text_weight x that of their texts, where vision was trained
    with a text_encoder.
    """
    ask, data = await _read(request)
    return answer(await gateway.photos.search(data, ask, request.state.deadline))


async def _read(request: HttpRequest) -> tuple[VisualSearchIn, bytes]:
    if is_form(request):
        files, texts = await read_form(request, IMAGE, most_files=1)
        return checked(VisualSearchIn, texts, texts=True), files[0]
    data, fields = await read_json(request, BASE64)
    return checked(VisualSearchIn, fields, texts=False), data
