"""Around every request: headers of the answer, one access line, counters, the way to the view.

Mental model of `ApiMiddleware`: the audit middleware outside of this one has given the request its
id. Here the time is taken; afterwards the route (not the path, which has ids in it), the status,
the duration and the actor (the API key's id) are known and told to the log and the metrics. Bodies
are never logged.

Mental model of `StraightToTheView`: a request of a machine has no session, no form, no message and
no frame, so it turns off before the middleware that cares for those, which is a third of the cost
of taking in a webhook. Host, TLS and CORS are dealt with before the turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.urls import Resolver404, resolve

from audit.log import current_context
from payments.api import metrics
from payments.api.errors import MACHINE_PATHS, error_response
from payments.errors import ErrorCode, FlorinError

access_log = structlog.get_logger("florin.access")

# Asked every few seconds by machines; a line each would bury the others.
_QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


class ApiMiddleware:
    """Measures and tells; see the module docstring."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = self.get_response(request)
        seconds = time.perf_counter() - started
        request_id = current_context().request_id
        if request_id and "Request-Id" not in response:
            response["Request-Id"] = request_id
        if request.path.startswith(MACHINE_PATHS):
            response["Florin-Version"] = settings.FLORIN_API_VERSION
        method = request.method or ""
        match = request.resolver_match
        route = f"/{match.route}" if match is not None else "unmatched"
        metrics.observe_request(
            route=route, method=method, status=response.status_code, seconds=seconds
        )
        if request.path not in _QUIET_PATHS:
            access_log.info(
                "request",
                method=method,
                route=route,
                status=response.status_code,
                duration_ms=round(seconds * 1000, 2),
            )
        return response


class StraightToTheView:
    """Calls the view of a machine's request itself; see the module docstring."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(MACHINE_PATHS):
            return self.get_response(request)
        try:
            match = resolve(request.path_info)
        except Resolver404:
            return error_response(FlorinError(ErrorCode.not_found))
        request.resolver_match = match
        response: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
        if isinstance(response, SimpleTemplateResponse):
            response.render()
        return response
