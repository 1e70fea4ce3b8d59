"""/v1/docs: one self-contained page drawn from the OpenAPI document; nothing is fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

PAGE = "documentation.html"


def add_pages(api: FastAPI, *, schemas: Sequence[type[BaseModel]]) -> None:
    """Serve the page, and put `schemas` that only errors use into the OpenAPI document."""
    page = resources.files("deployments.api").joinpath(PAGE).read_text(encoding="utf-8")
    made = api.openapi

    async def docs() -> HTMLResponse:
        return HTMLResponse(page)

    def openapi() -> dict[str, Any]:
        fresh = api.openapi_schema is None
        document = made()
        if fresh:
            _complete(document, schemas)
        return document

    api.add_api_route("/v1/docs", docs, include_in_schema=False)
    api.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any], schemas: Sequence[type[BaseModel]]) -> None:
    known = document.setdefault("components", {}).setdefault("schemas", {})
    for model in schemas:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)
        known[model.__name__] = schema
    for name in ("HTTPValidationError", "ValidationError"):
        known.pop(name, None)
