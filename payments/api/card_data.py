"""Card data never reaches us: a request that carries a card number anywhere is refused unread.

Mental model: this middleware stands before everything that reads, stores or tells of a request. It
looks at the method, the path, the query string, the headers and the body as they came, before
anything is parsed, and answers `card_data_refused` without a word of what it found; the caller has
to send the provider's token instead. The rule is audit.card_numbers. A first look at the raw bytes
costs a microsecond; only what that finds suspicious is decoded (escapes of JSON and of forms) and
looked at closely.

A provider's signed webhook is the one body that is not refused here, because news about money is
not lost over what a number in it resembles; payments.actions.provider_news masks it before it is
stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_plus

import structlog
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.http.response import HttpResponseBase
from prometheus_client import Counter

from audit import card_numbers
from audit.card_numbers_in_json import unescaped
from payments.api.errors import MACHINE_PATHS, error_response, refusal_of
from payments.api.parsers import BODY_BYTES_MAX, parse_object
from payments.errors import ErrorCode, FlorinError

logger = structlog.get_logger(__name__)

REFUSED = Counter(
    "florin_card_numbers_refused",
    "Requests refused because they carried a card number, by where it stood.",
    ["where"],
)
PROVIDER_PATH = "/webhooks/"
# Numbers that proxies and tracing add to every request, many of them of a card number's length.
# They are neither stored nor logged; of a traceparent the trace id alone, which is too long.
_TRACING_HEADERS = re.compile(
    r"HTTP_(?:TRACEPARENT|TRACESTATE|BAGGAGE|SENTRY_TRACE|UBER_TRACE_ID|X_DATADOG_.*|X_B3_.*|B3"
    r"|X_AMZN_.*|X_AMZ_CF_ID|X_CLOUD_TRACE_CONTEXT|X_REQUEST_ID|X_REQUEST_START"
    r"|X_CORRELATION_ID|CF_RAY|X_NEWRELIC_.*)"
)
_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"


class RefuseCardNumbers:
    """Answers a request that carries a card number, and lets any other pass."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            where, param = _found(request)
        except (UnreadablePostError, RequestDataTooBig) as error:
            return error_response(refusal_of(error))
        if not where:
            return self.get_response(request)
        REFUSED.labels(where).inc()
        logger.warning("card_data.refused", where=where)
        refusal = FlorinError(ErrorCode.card_data_refused, param=param)
        if request.path.startswith(MACHINE_PATHS):
            return error_response(refusal)
        return HttpResponse(refusal.message, content_type="text/plain", status=refusal.status)


@lru_cache(maxsize=512)
def is_tracing(name: str) -> bool:
    """Whether a header, by its name in META, is one that tracing adds."""
    return _TRACING_HEADERS.fullmatch(name) is not None


def masked_headers(headers: dict[str, str]) -> dict[str, str]:
    """A provider's headers as they may be stored: every card number in them masked."""
    joined = "\n".join((*headers, *headers.values()))
    if not card_numbers.may_carry(joined.encode("utf-8", "surrogatepass")):
        return headers
    mask = card_numbers.mask
    return {mask(name)[0]: mask(value)[0] for name, value in headers.items()}


def _found(request: HttpRequest) -> tuple[str, str]:
    """Where a card number stands and under which parameter, as far as that may be told."""
    if card_numbers.carries(f"{request.method} {request.path_info}"):
        return "path", ""
    query = request.META.get("QUERY_STRING", "")
    if query and card_numbers.carries(f"{query}\n{unquote_plus(query)}"):
        return "query", ""
    if request.path_info.startswith(PROVIDER_PATH):
        return "", ""
    header = _header_found(request)
    if header:
        return "headers", header
    if _body_carries(request):
        return "body", _parameter(request)
    return "", ""


def _header_found(request: HttpRequest) -> str:
    """The header with a card number, "" for none; a name that carries one is not told."""
    lines = {
        name: f"{name}\n{value}"
        for name, value in request.META.items()
        if name.startswith(("HTTP_", "CONTENT_TYPE"))
    }
    joined = "\n".join(lines.values())
    escaped = "%" in joined
    if not (escaped or card_numbers.may_carry(joined.encode("utf-8", "surrogatepass"))):
        return ""
    for name, line in lines.items():
        if not is_tracing(name) and _text_carries(line):
            known = "" if _text_carries(name) else name
            return known.removeprefix("HTTP_").replace("_", "-").title() or "headers"
    return ""


def _text_carries(text: str) -> bool:
    return card_numbers.carries(text) or ("%" in text and card_numbers.carries(unquote_plus(text)))


def _body_carries(request: HttpRequest) -> bool:
    """A body that is too large is not read here or anywhere else."""
    declared = request.META.get("CONTENT_LENGTH") or "0"
    if not declared.isdecimal() or not 0 < int(declared) <= BODY_BYTES_MAX:
        return False
    if request.content_type == _MULTIPART:  # forms of pages; a file in them is no text
        return any(map(card_numbers.carries, _form_texts(request)))
    raw = request.body
    form = request.content_type == _FORM
    escaped = b"\\u" in raw or (form and b"%" in raw)
    if not (escaped or card_numbers.may_carry(raw)):
        return False
    text = raw.decode("utf-8", "replace")
    if form:
        text = unquote_plus(text)
    return card_numbers.carries(text) or card_numbers.carries(unescaped(text))


def _form_texts(request: HttpRequest) -> Iterator[str]:
    for name, values in request.POST.lists():
        yield name
        yield from map(str, values)


def _parameter(request: HttpRequest) -> str:
    """The way to the value in a JSON body, "" where there is none or the way itself tells it."""
    if request.content_type != "application/json":
        return ""
    try:
        path = next(_ways(parse_object(request.body), ()), ())
    except FlorinError:
        return ""
    way = ".".join(path)[:200]
    return "" if card_numbers.carries(way) else way


def _ways(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for name, item in value.items():
            if card_numbers.carries(name):
                yield path
            yield from _ways(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _ways(item, (*path, str(index)))
    elif isinstance(value, str | int | float) and card_numbers.carries(str(value)):
        yield path
