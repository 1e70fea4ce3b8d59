"""Requests that carry photos: multipart forms, or base64 in JSON."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from typing import Any, TypeVar

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from deployments.middleware.bodies import MULTIPART
from deployments.middleware.problems import field_problem

M = TypeVar("M", bound=BaseModel)
MAX_FIELDS = 16


def is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith(MULTIPART)


async def read_form(request: Request, file_field: str, *, most_files: int) -> tuple[list[bytes], dict[str, str]]:
    """The files sent as `file_field`, and the other fields; raises HttpProblem 422 naming what is wrong."""
    async with request.form(max_files=most_files, max_fields=MAX_FIELDS) as form:
        files = [await part.read() for _, part in _files(form, file_field)]
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    if file_field in fields:
        raise field_problem(file_field, f"must be a file: -F {file_field}=@photo.jpg")
    if not files:
        raise field_problem(file_field, f"is missing: -F {file_field}=@photo.jpg")
    return files, fields


def _files(form: FormData, file_field: str) -> Sequence[tuple[str, UploadFile]]:
    files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
    for name, _ in files:
        if name != file_field:
            raise field_problem(name[:80], f"unknown field; files go in {file_field}", nearest=file_field)
    return files


async def read_json(request: Request, field: str) -> tuple[bytes, dict[str, Any]]:
    """What the base64 text in `field` stands for, and the other fields; raises HttpProblem 422."""
    return await asyncio.to_thread(_decoded, await request.body(), field)


def _decoded(body: bytes, field: str) -> tuple[bytes, dict[str, Any]]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise field_problem("body", f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise field_problem("body", "must be an object")
    if field not in document:
        others = ", ".join(document)
        raise field_problem(field, "is missing", found=others or None)
    text = document.pop(field)
    if not isinstance(text, str):
        raise field_problem(field, "must be a string of base64")
    try:
        return base64.b64decode(text, validate=True), document
    except (binascii.Error, ValueError) as error:
        plain = "the plain alphabet alone, without data: before it and line breaks (base64 -w0)"
        raise field_problem(field, f"not base64: {error}; send {plain}") from None


def checked(model: type[M], fields: dict[str, Any], *, texts: bool) -> M:
    """The fields as the model; `texts`: numbers come as text. Raises RequestValidationError."""
    try:
        return model.model_validate_strings(fields) if texts else model.model_validate(fields)
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from None
