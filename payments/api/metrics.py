"""`/metrics` for Prometheus: what this installation does, and how it feels.

Mental model: two kinds of figures. Counters live in the web processes and count requests; several
processes share them through files when PROMETHEUS_MULTIPROC_DIR is set (the library's own
multiprocess mode), else each process tells its own. Everything about payments, queues and books is
asked of PostgreSQL while scraping (payments.api.measurements), so it is true however many
processes there are and survives a restart. The address is open to the machine itself and to
whoever has the bearer token FLORIN_METRICS_TOKEN. Names and meanings: docs/metrics.md.
"""

from __future__ import annotations

import hmac
import ipaddress
import os

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY, CollectorRegistry

from payments.api.measurements import DatabaseCollector

# When each counter began is no figure of this installation, only of one process.
disable_created_metrics()

REQUESTS = Counter("florin_http_requests", "Answered requests.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "florin_http_request_seconds",
    "Time from the first middleware to the answer.",
    ["route", "method"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
WEBHOOKS_REFUSED = Counter(
    "florin_provider_webhooks_refused",
    "Provider webhooks that were not taken in, by error code.",
    ["provider", "code"],
)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


def observe_request(*, route: str, method: str, status: int, seconds: float) -> None:
    """Count one answered request. Routes are patterns, so the number of series is bounded."""
    method = method if method in _METHODS else "other"
    REQUESTS.labels(route, method, status).inc()
    REQUEST_SECONDS.labels(route, method).observe(seconds)


def metrics(request: HttpRequest) -> HttpResponse:
    """The exposition, or 404 for whoever may not see it."""
    if not may_read(
        authorization=request.headers.get("Authorization", ""),
        remote_address=request.META.get("REMOTE_ADDR", ""),
        forwarded="X-Forwarded-For" in request.headers,
    ):
        return HttpResponse(status=404)
    shared = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(shared)
    counters = generate_latest(shared if os.environ.get("PROMETHEUS_MULTIPROC_DIR") else REGISTRY)
    database = CollectorRegistry()
    database.register(DatabaseCollector())
    return HttpResponse(counters + generate_latest(database), content_type=CONTENT_TYPE_LATEST)


def may_read(*, authorization: str, remote_address: str, forwarded: bool) -> bool:
    """Whether a request with this Authorization header, from this address, may see metrics."""
    token = settings.FLORIN_METRICS_TOKEN
    if token:
        return hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode())
    # Behind a proxy every request comes from the machine itself, so there only a token helps.
    if settings.FLORIN_BEHIND_TLS or forwarded:
        return False
    try:
        return ipaddress.ip_address(remote_address).is_loopback
    except ValueError:
        return False
