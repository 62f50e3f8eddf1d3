"""Opens the audit context of a request: its ids, and the staff member once somebody asks.

The request id is always ours; one from outside could be forged to mislead a reader of the log. A
valid W3C `traceparent` is taken over, so that a caller can follow the work through both systems.
The actor of a staff session is looked up only when an event is written; the API names its key with
audit.log.set_actor. Works under WSGI and ASGI.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from typeid import TypeID

from audit.context import Actor, AuditContext, open_context

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


class AuditContextMiddleware:
    """First in MIDDLEWARE: whatever follows runs inside the context. Adds `Request-Id`."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._is_async = bool(iscoroutinefunction(get_response))
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Handle one request inside its own context."""
        if self._is_async:
            return self._handle_async(request)
        with open_context(_context_of(request)) as context:
            response: HttpResponseBase = self.get_response(request)
        return _with_request_id(response, context)

    async def _handle_async(self, request: HttpRequest) -> HttpResponseBase:
        with open_context(_context_of(request)) as context:
            response: HttpResponseBase = await self.get_response(request)
        return _with_request_id(response, context)


def staff_actor(request: HttpRequest) -> Actor | None:
    """The signed-in user of a request as an actor, None when nobody is signed in."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    return Actor(type="user", id=str(user.pk), display=user.get_username())


def trace_id_of(traceparent: str) -> str:
    """The trace id of a valid W3C traceparent header, else a new one."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found:
        version, trace_id, parent_id, rest = found.groups()
        known = version != "ff" and (version != "00" or rest is None)
        if known and trace_id.strip("0") and parent_id.strip("0"):
            return trace_id
    return secrets.token_hex(16)


def _context_of(request: HttpRequest) -> AuditContext:
    return AuditContext(
        trace_id=trace_id_of(request.headers.get("traceparent", "")),
        request_id=str(TypeID(prefix="req")),
        actor_source=lambda: staff_actor(request),
    )


def _with_request_id(response: HttpResponseBase, context: AuditContext) -> HttpResponseBase:
    response["Request-Id"] = context.request_id
    return response
