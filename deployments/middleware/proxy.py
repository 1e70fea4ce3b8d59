"""What Serve's HTTP proxy wraps around every application, named in RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH."""

from __future__ import annotations

from starlette.middleware import Middleware

from deployments.middleware.problems import ProblemJson
from deployments.middleware.request_id import RequestId

IMPORT_PATH = "deployments.middleware.proxy:middlewares"


def middlewares() -> list[Middleware]:
    """Serve applies them in order, the last one outermost."""
    return [Middleware(ProblemJson), Middleware(RequestId)]
