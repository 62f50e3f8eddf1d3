"""A payment's status as it changes, told to the payer's page: the stream process's application.

Mental model: `GET /v1/client/payments/{id}/stream` takes what `GET /v1/client/payments/{id}` takes,
refuses what that refuses in the same words, and then does not end: each change of the payment is
one event (`payment.updated`) whose data is what that address would answer now, and whose id is the
number of the payment's last domain event. The first event is the state as it stands, unless
`Last-Event-ID` says that the page has it. Between events a comment shows that the line is alive.
The stream ends by itself, and says why (`stream.ended`): in good time, after a final state, when
the key is no longer let in, when the process stops.

No secret is in an address or in a log. Nothing here blocks: databases are asked by the hub's
threads (payments.api.stream_hub).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.http import QueryDict
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from typeid import TypeID

from audit.context import AuditContext, open_context
from audit.log import set_actor
from audit.middleware import trace_id_of
from payments.access import no_such_payment
from payments.api import rate_limits, stream_metrics
from payments.api.authentication import Caller, find_caller, presented_key
from payments.api.client_payment import require_client_secret
from payments.api.errors import refusal_of, with_request_id
from payments.api.metrics import may_read
from payments.api.pagination import read_query
from payments.api.rendering import to_json
from payments.api.stream_hub import Hub, Listener
from payments.errors import ErrorCode, FlorinError
from payments.models import ApiKey
from payments.representation import client_secret_matches

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[str, str]]

ROUTE = "/v1/client/payments/{id}/stream"
_PREFIX, _SUFFIX = ROUTE.split("{id}")
ALLOWED_METHODS = "GET, OPTIONS"
# A page that lost its stream waits this long before it asks again, at first.
RETRY_MILLISECONDS = 1000
# Whoever does not take a frame within this time is not reading any more.
SEND_TIMEOUT_SECONDS = 30.0
READY_TIMEOUT_SECONDS = 3.0
_ID_LENGTH_MAX = 40
_OPENING = f"retry: {RETRY_MILLISECONDS}\n: florin\n\n".encode()
_HEARTBEAT = b": alive\n\n"

access_log = structlog.get_logger("florin.access")


@dataclass
class _Request:
    """One HTTP request with its way back."""

    scope: Scope
    receive: Receive
    send: Send
    headers: dict[str, str] = field(init=False)
    status: int = 0

    def __post_init__(self) -> None:
        self.headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in self.scope["headers"]
        }

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    async def begin(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Send the head of the answer."""
        self.status = status
        encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        await self.send({"type": "http.response.start", "status": status, "headers": encoded})

    async def write(self, body: bytes, *, more: bool = True) -> None:
        """Send a part of the body. Raises TimeoutError when nobody takes it."""
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """Send a whole answer."""
        await self.begin(status, [*headers, ("Content-Length", str(len(body)))])
        await self.write(body, more=False)


class StreamApplication:
    """The ASGI application. `hub` exists from the start of the process to its end."""

    def __init__(self) -> None:
        self.hub: Hub | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the life of the process."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            request = _Request(scope, receive, send)
            if request.path.startswith("/v1/"):
                await self._serve(request)
            else:
                await self._serve_operator(request)

    async def stop(self) -> None:
        """End all streams; the server may then be stopped."""
        if self.hub is not None:
            await self.hub.stop()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.hub = Hub()
        self.hub.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if not self.hub.stopping:
            await self.hub.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, request: _Request) -> None:
        """Answer under /v1, with one access line."""
        context = AuditContext(
            trace_id=trace_id_of(request.headers.get("traceparent", "")),
            request_id=str(TypeID(prefix="req")),
        )
        common = [("Request-Id", context.request_id), *_COMMON_HEADERS]
        started, told = time.perf_counter(), {}
        with open_context(context):
            try:
                if request.method == "OPTIONS":
                    await request.answer(200, b"", [*common, *_PREFLIGHT_HEADERS])
                else:
                    told = await self._stream(request, common)
            except Exception as error:  # noqa: BLE001  refusal_of logs what is our fault
                told = await _refuse(request, error, common)
            access_log.info(
                "request",
                method=request.method,
                route=ROUTE if _payment_id(request.path) else "unmatched",
                status=request.status,
                duration_ms=round((time.perf_counter() - started) * 1000, 2),
                **told,
            )

    async def _stream(self, request: _Request, common: Headers) -> dict[str, Any]:
        """Let the page in, then tell it what happens. Raises FlorinError before the first byte."""
        assert self.hub is not None, "Bug! asked before the process had started"
        payment_id = _payment_id(request.path)
        if not payment_id:
            raise FlorinError(ErrorCode.not_found)
        if request.method != "GET":
            raise FlorinError(ErrorCode.method_not_allowed)
        self.hub.refuse_if_full()
        secret = request.headers.get("client-secret", "")
        opens = payment_id if client_secret_matches(payment_id, secret) else ""
        caller, key_digest, limits = await self._let_in(request, secret_of=opens)
        read_query(QueryDict(request.scope["query_string"]), paged=False)
        require_client_secret(payment_id, secret)
        last_seq = _last_event_id(request.headers.get("last-event-id", ""))
        listener = self.hub.join(payment_id=payment_id, key_digest=key_digest)
        try:
            snapshot = await self.hub.read(payment_id)
            if snapshot is None or (snapshot.merchant_id, snapshot.livemode) != (
                caller.merchant.pk,
                caller.livemode,
            ):
                raise no_such_payment(payment_id)
            # A number that no event has yet is not ours; the page is shown everything.
            sent_seq = last_seq if last_seq <= snapshot.seq else 0
            await request.begin(200, [*common, *limits, *_STREAM_HEADERS])
            writer = _Writer(request, listener, sent_seq=sent_seq)
            reason = await writer.run()
        finally:
            self.hub.leave(listener)
        stream_metrics.ENDED.labels(reason).inc()
        return {"ended": reason, "frames": writer.frames}

    async def _let_in(self, request: _Request, *, secret_of: str) -> tuple[Caller, str, Headers]:
        """Who asks, the digest of the key, what is left of its rate limit. Raises FlorinError."""
        assert self.hub is not None, "Bug! asked before the process had started"
        key = presented_key(request.headers.get("authorization", ""))
        caller, standing = await self.hub.let_in(_caller_and_standing, key, secret_of=secret_of)
        set_actor(caller.actor)
        if standing.retry_after_seconds:
            raise rate_limits.refusal(standing)
        return caller, ApiKey.digest(key), list(standing.headers().items())

    async def _serve_operator(self, request: _Request) -> None:
        """Health and metrics, without an access line."""
        if request.path == "/healthz":
            await request.answer(200, to_json({"status": "ok"}), _JSON)
        elif request.path == "/readyz":
            status, body = await self._readiness()
            await request.answer(status, to_json(body), _JSON)
        elif request.path == "/metrics" and may_read(
            authorization=request.headers.get("authorization", ""),
            remote_address=(request.scope.get("client") or ("", 0))[0],
            forwarded="x-forwarded-for" in request.headers,
        ):
            await request.answer(
                200,
                generate_latest(stream_metrics.REGISTRY),
                [("Content-Type", CONTENT_TYPE_LATEST)],
            )
        else:
            await request.answer(404, b"", [])

    async def _readiness(self) -> tuple[int, dict[str, Any]]:
        """503 without the database, or when stopping; a lost Redis only costs a second."""
        assert self.hub is not None, "Bug! asked before the process had started"
        try:
            async with asyncio.timeout(READY_TIMEOUT_SECONDS):
                await self.hub.threads.run(_ask_database)
        except (DatabaseError, TimeoutError):
            return 503, {"status": "down", "checks": {"database": {"status": "down"}}}
        redis_is_up = self.hub.subscription.is_up
        checks = {
            "database": {"status": "ok"},
            "redis": {"status": "ok" if redis_is_up else "degraded"},
            "streams": {"status": "ok", "open": self.hub.open_streams},
        }
        if self.hub.stopping:
            return 503, {"status": "down", "checks": checks}
        return 200, {"status": "ok" if redis_is_up else "degraded", "checks": checks}


class _Writer:
    """Writes one stream from its first byte to its last."""

    def __init__(self, request: _Request, listener: Listener, *, sent_seq: int) -> None:
        self._request = request
        self._listener = listener
        self._sent_seq = sent_seq
        self.frames = 0
        now = time.monotonic()
        self._began = now
        # Not all at once: streams that were opened together do not have to come back together.
        self._end_at = now + settings.FLORIN_STREAM_SECONDS_MAX * random.uniform(0.9, 1.0)  # noqa: S311
        self._final_since: float | None = None

    async def run(self) -> str:
        """Write until the stream ends; says why it did."""
        gone = asyncio.create_task(_until_gone(self._request.receive, self._listener))
        try:
            await self._request.write(_OPENING)
            while not self._reason_to_end():
                await self._tell_news()
                await self._wait()
            reason = self._reason_to_end()
            if reason != "client":
                await self._tell_news()
                await self._request.write(_ending(reason), more=False)
            return reason
        except TimeoutError:
            return "slow"
        finally:
            gone.cancel()

    async def _tell_news(self) -> None:
        newest = self._listener.newest
        if newest is None:
            return
        if newest.seq > self._sent_seq:
            self._sent_seq = newest.seq
            self.frames += 1
            stream_metrics.FRAMES.labels("state").inc()
            await self._request.write(newest.frame)
        if not newest.final:
            self._final_since = None
        elif self._final_since is None:
            self._final_since = time.monotonic()

    async def _wait(self) -> None:
        """Until there is news or the stream has to end; silence is filled with heartbeats."""
        seconds = min(settings.FLORIN_STREAM_HEARTBEAT_SECONDS, self._seconds_left())
        if await self._listener.news(seconds=seconds) or self._reason_to_end():
            return
        stream_metrics.FRAMES.labels("heartbeat").inc()
        await self._request.write(_HEARTBEAT)

    def _reason_to_end(self) -> str:
        if self._listener.ending or self._seconds_left() > 0:
            return self._listener.ending
        return "time" if time.monotonic() >= self._end_at else "final"

    def _seconds_left(self) -> float:
        end_at = self._end_at
        if self._final_since is not None:
            end_at = min(end_at, self._final_since + settings.FLORIN_STREAM_GRACE_SECONDS)
        return end_at - time.monotonic()


async def _until_gone(receive: Receive, listener: Listener) -> None:
    """End the stream when the page goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.end("client")


async def _refuse(request: _Request, error: Exception, common: Headers) -> dict[str, Any]:
    """The answer to what cannot be served; what has begun can only be cut off."""
    refusal = refusal_of(error)
    stream_metrics.REFUSED.labels(refusal.code.name).inc()
    if request.status:
        return {"ended": "failed"}
    headers = [*common, *_JSON]
    if refusal.retry_after_seconds is not None:
        headers.append(("Retry-After", str(refusal.retry_after_seconds)))
    if refusal.code is ErrorCode.method_not_allowed:
        headers.append(("Allow", ALLOWED_METHODS))
    if refusal.status == 401:
        headers.append(("WWW-Authenticate", 'Bearer realm="Florin"'))
    with suppress(TimeoutError):
        await request.answer(refusal.status, to_json(with_request_id(refusal.body())), headers)
    return {"code": refusal.code.name}


def _payment_id(path: str) -> str:
    """The id in a stream's address, or empty for another address."""
    if not (path.startswith(_PREFIX) and path.endswith(_SUFFIX)):
        return ""
    payment_id = path[len(_PREFIX) : -len(_SUFFIX)]
    plain = payment_id.replace("_", "").isalnum() and payment_id.isascii()
    return payment_id if plain and len(payment_id) <= _ID_LENGTH_MAX else ""


def _last_event_id(header: str) -> int:
    """The number in Last-Event-ID, 0 without one. Raises FlorinError(parameter_invalid)."""
    if header and not (header.isascii() and header.isdigit() and len(header) <= 18):
        raise FlorinError(
            ErrorCode.parameter_invalid,
            "Last-Event-ID is the id of the last event received on this payment's stream.",
            param="Last-Event-ID",
        )
    return int(header or 0)


def _ending(reason: str) -> bytes:
    return b"event: stream.ended\ndata: %s\n\n" % to_json({"reason": reason})


def _caller_and_standing(key: str) -> tuple[Caller, rate_limits.Standing]:
    caller = find_caller(key, now=datetime.now(UTC))
    if caller.kind != ApiKey.Kind.PUBLISHABLE:
        raise FlorinError(ErrorCode.publishable_key_required)
    return caller, rate_limits.take(caller, "GET")


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


_JSON: Headers = [("Content-Type", "application/json")]
_COMMON_HEADERS: Headers = [
    ("Florin-Version", settings.FLORIN_API_VERSION),
    ("Cache-Control", "no-store"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", ", ".join(settings.CORS_EXPOSE_HEADERS)),
]
_PREFLIGHT_HEADERS: Headers = [
    ("Access-Control-Allow-Methods", ALLOWED_METHODS),
    ("Access-Control-Allow-Headers", ", ".join(settings.CORS_ALLOW_HEADERS)),
    ("Access-Control-Max-Age", str(settings.CORS_PREFLIGHT_MAX_AGE)),
]
_STREAM_HEADERS: Headers = [
    ("Content-Type", "text/event-stream; charset=utf-8"),
    # A proxy that gathers the answer before it passes it on would hold every event back.
    ("X-Accel-Buffering", "no"),
]
