"""Users and how two histories become one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path, Response
from fastapi import Request as HttpRequest
from pydantic import Field, StringConstraints

from deployments.api.answers import MergeAnswer, UpsertAnswer, answer, gateway_of, problem_responses
from deployments.api.fields import MAX_ID, Id, Request, Time
from deployments.api.rows import body_of, check_rows, read_rows
from deployments.gateway import Gateway
from deployments.middleware.problems import field_problem

router = APIRouter(tags=["shop"])
EXAMPLE = {"user_id": "u000001", "attributes": {"country": "AT", "member": "gold"}}
Name = Annotated[str, StringConstraints(max_length=MAX_ID)]
Value = Annotated[str, StringConstraints(max_length=4096)]


class UserIn(Request):
    """A partial row of the users table; attributes merge by key, null clears."""

    user_id: Id
    attributes: Annotated[dict[Name, Value | None], Field(max_length=200)] | None = None
    created_at: Time | None = None


class MergeIn(Request):
    """Whose history joins the user's."""

    anonymous_id: Id


@router.put(
    "/v1/users",
    summary="Add or change users",
    responses={200: {"model": UpsertAnswer}, **problem_responses(413, 415, 422, 503)},
    openapi_extra=body_of("users", UserIn, EXAMPLE),
)
async def put_users(request: HttpRequest, gateway: Annotated[Gateway, Depends(gateway_of)]) -> Response:
    """1 to 1000 partial users."""
    rows = await read_rows(request, "users")
    good, rejected = check_rows(rows, UserIn)
    await gateway.in_store(gateway.store.upsert_users, [user.model_dump(exclude_unset=True) for _, user in good])
    return answer({"upserted": len(good), "stale": 0, "rejected": rejected})


@router.post(
    "/v1/users/{user_id:path}/merge",
    summary="Join an anonymous history to a user",
    responses={200: {"model": MergeAnswer}, **problem_responses(413, 415, 422, 503)},
)
async def merge_user(
    user_id: Annotated[Id, Path(examples=["u000001"])],
    body: Annotated[MergeIn, Body(examples=[{"anonymous_id": "device-7f3a"}])],
    gateway: Annotated[Gateway, Depends(gateway_of)],
) -> Response:
    """Past and future events of `anonymous_id` count as the user's; doing it again changes nothing."""
    if user_id == body.anonymous_id:
        raise field_problem("anonymous_id", "is the user itself", found=user_id)
    await gateway.merge_users(user_id, body.anonymous_id)
    return answer({"user_id": user_id, "anonymous_id": body.anonymous_id})
