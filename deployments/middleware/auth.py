"""API keys: `Authorization: Bearer KEY`, scopes `public` and `server`; without keys the server is for this machine."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Literal, NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.middleware.problems import HttpProblem
from training.contracts.errors import InputError, Problem

KEYS_VARIABLE = "SHOPKEEPER_API_KEYS"
HAPROXY_VARIABLE = "RAY_SERVE_ENABLE_HA_PROXY"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/v1/openapi.json", "/v1/docs"})
PUBLIC_ROUTES = frozenset({
    ("POST", "/v1/events"), ("POST", "/v1/recommendations"), ("POST", "/v1/similar-items"),
    ("POST", "/v1/visual-search"),
})  # fmt: skip
Access = Literal["public", "server"]


class ApiKey(NamedTuple):
    """A key's name, what it may do, and the SHA-256 of its secret."""

    name: str
    access: Access
    digest: bytes


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """`name:public|server:secret`, separated by commas or white space; raises InputError without repeating a secret."""
    return tuple(_parse_key(entry, number) for number, entry in enumerate(text.replace(",", " ").split(), 1))


def _parse_key(entry: str, number: int) -> ApiKey:
    name, _, rest = entry.partition(":")
    access, _, secret = rest.partition(":")
    if not name or access not in ("public", "server") or len(secret) < 16:
        raise InputError(
            Problem(
                field=KEYS_VARIABLE, row=number, problem="not an API key",
                allowed="name:public|server:secret with a secret of at least 16 characters",
            )
        )  # fmt: skip
    return ApiKey(name, "server" if access == "server" else "public", _digest(secret))


def refuse_open_host(host: str, keys: Sequence[ApiKey]) -> None:
    """Raise InputError where a server without keys would listen beyond this machine."""
    if not keys and host not in LOOPBACK:
        raise InputError(
            Problem(
                field="host", problem=f"without API keys only this machine may connect: set {KEYS_VARIABLE}",
                found=host, allowed="127.0.0.1",
            )
        )  # fmt: skip


def refuse_open_proxy(environment: Mapping[str, str], keys: Sequence[ApiKey]) -> None:
    """Raise InputError where HAProxy, which listens on every address, would stand before a server without keys."""
    if not keys and environment.get(HAPROXY_VARIABLE) == "1":
        raise InputError(
            Problem(
                field=HAPROXY_VARIABLE, problem=f"HAProxy listens on every address: set {KEYS_VARIABLE}",
                found="1", allowed="0 without API keys",
            )
        )  # fmt: skip


class Auth:
    """401 without a known key, 403 where its scope does not reach; lets everything pass when there are no keys."""

    def __init__(self, app: ASGIApp, *, keys: Sequence[ApiKey]) -> None:
        self.app, self.keys = app, tuple(keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if self.keys and scope["type"] == "http" else None
        await (self.app if refusal is None else refusal.response())(scope, receive, send)

    def _refusal(self, scope: Scope) -> HttpProblem | None:
        if scope["path"] in OPEN_PATHS:
            return None
        key = self._key(next((value for name, value in scope["headers"] if name == b"authorization"), b""))
        if key is None:
            challenge = {"www-authenticate": "Bearer"}
            return HttpProblem(
                HTTPStatus.UNAUTHORIZED, "a known API key is needed: Authorization: Bearer KEY", headers=challenge
            )
        if key.access == "server" or (scope["method"], scope["path"]) in PUBLIC_ROUTES:
            return None
        return HttpProblem(HTTPStatus.FORBIDDEN, f"key {key.name} has scope public; this route needs scope server")

    def _key(self, header: bytes) -> ApiKey | None:
        scheme, _, secret = header.decode("latin-1").partition(" ")
        digest = _digest(secret.strip())
        matches = [key for key in self.keys if hmac.compare_digest(key.digest, digest)]
        return matches[0] if matches and scheme.lower() == "bearer" else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
