"""Every way out of the API that is not an answer: one error object, whoever raised.

Mental model: a `FlorinError` is a refusal with its own words; what the frameworks raise (unknown
address, wrong method, wrong media type) is translated to one; anything else is our fault: logged
with its trace, told as `internal_error` with the request id, nothing of it shown. Under /v1 and
/webhooks the framework's own error pages are replaced by the same object.
"""

from __future__ import annotations

import json
from typing import Any

import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views import defaults
from psycopg_pool import PoolTimeout
from rest_framework import exceptions
from rest_framework.response import Response

from audit.log import current_context
from payments.errors import ErrorCode, FlorinError

logger = structlog.get_logger(__name__)

# Where errors are JSON even when no view was found.
MACHINE_PATHS = ("/v1/", "/webhooks/")
RETRY_AFTER_SECONDS = 1

_TRANSLATIONS: dict[type[Exception], ErrorCode] = {
    Http404: ErrorCode.not_found,
    exceptions.NotFound: ErrorCode.not_found,
    exceptions.MethodNotAllowed: ErrorCode.method_not_allowed,
    exceptions.UnsupportedMediaType: ErrorCode.unsupported_media_type,
    exceptions.ParseError: ErrorCode.json_invalid,
    UnreadablePostError: ErrorCode.json_invalid,
    RequestDataTooBig: ErrorCode.body_too_large,
    OperationalError: ErrorCode.service_unavailable,
    InterfaceError: ErrorCode.service_unavailable,
    PoolTimeout: ErrorCode.service_unavailable,
}


def exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """REST framework's hook: any exception of a view to its answer."""
    refusal = refusal_of(error)
    response = Response(with_request_id(refusal.body()), status=refusal.status)
    _set_headers(response, refusal)
    if isinstance(error, exceptions.MethodNotAllowed):
        response["Allow"] = ", ".join(context["view"].allowed_methods)
    return response


def refusal_of(error: Exception) -> FlorinError:
    """What the caller is told about an exception; what is our fault goes to the log."""
    if isinstance(error, FlorinError):
        return error
    for kind, code in _TRANSLATIONS.items():
        if isinstance(error, kind):
            if code is ErrorCode.service_unavailable:
                logger.error("database.unavailable", exc_info=error)
                return FlorinError(code, retry_after_seconds=RETRY_AFTER_SECONDS)
            return FlorinError(code)
    logger.error("request.failed", exc_info=error)
    return FlorinError(ErrorCode.internal_error)


def with_request_id(body: dict[str, Any]) -> dict[str, Any]:
    """An error object with the id of the request that is answered now."""
    return {"error": {**body["error"], "request_id": current_context().request_id}}


def error_response(refusal: FlorinError) -> HttpResponse:
    """The same object for views outside the REST framework."""
    response = HttpResponse(
        json.dumps(with_request_id(refusal.body())),
        content_type="application/json",
        status=refusal.status,
    )
    _set_headers(response, refusal)
    return response


def _set_headers(response: HttpResponseBase, refusal: FlorinError) -> None:
    if refusal.retry_after_seconds is not None:
        response["Retry-After"] = str(refusal.retry_after_seconds)
    if refusal.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="Florin"'


def _for_machines(request: HttpRequest) -> bool:
    return request.path.startswith(MACHINE_PATHS)


def bad_request_handler(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """400 before a view: a host we do not serve, a request the framework cannot read."""
    if _for_machines(request):
        code = ErrorCode.parameter_invalid
        if isinstance(exception, RequestDataTooBig):
            code = ErrorCode.body_too_large
        return error_response(FlorinError(code, "The request cannot be read."))
    return defaults.bad_request(request, exception)


def not_found_handler(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """404 for an address that does not exist."""
    if _for_machines(request):
        return error_response(FlorinError(ErrorCode.not_found))
    return defaults.page_not_found(request, exception)


def server_error_handler(request: HttpRequest) -> HttpResponseBase:
    """500 outside the REST framework; Django has logged it."""
    if _for_machines(request):
        return error_response(FlorinError(ErrorCode.internal_error))
    return defaults.server_error(request)


def errors_page(request: HttpRequest) -> HttpResponse:
    """Every error code with its status and meaning; `doc_url` of an error points in here."""
    return render(request, "docs/errors.html", {"codes": list(ErrorCode)})
