"""Is this process alive, can it serve, and what around it is not well.

Mental model: `/healthz` says that the process answers. `/readyz` fails for the database alone,
because without it no request can be served; a lost Redis, a silent worker or a growing inbox only
cost time and are told as `degraded`, with status 200, so that they never take every web process
out of the load balancer at once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

import redis
import structlog
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from webhooks import backlog

SILENT_AFTER_SECONDS = 30
INBOX_OLD_AFTER_SECONDS = 60
_REDIS_TIMEOUT_SECONDS = 0.5

logger = structlog.get_logger(__name__)


def healthz(request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers. Touches nothing."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    """200 with `ok` or `degraded`, or 503 when the database cannot be reached."""
    now = datetime.now(UTC)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        checks = {
            "database": {"status": "ok"},
            "redis": _redis(),
            **_processes(now),
            "inbox": _inbox(now),
        }
    except Exception as error:  # noqa: BLE001 - whatever it is, this process cannot serve
        logger.warning("readyz.database_unreachable", error=str(error))
        down = {"status": "down"}
        return JsonResponse({"status": "down", "checks": {"database": down}}, status=503)
    well = all(check["status"] == "ok" for check in checks.values())
    return JsonResponse({"status": "ok" if well else "degraded", "checks": checks})


@cache
def _redis_client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=_REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
        retry=None,
    )


def _redis() -> dict[str, Any]:
    try:
        _redis_client().ping()
    except redis.RedisError as error:
        return {"status": "degraded", "reason": f"no answer: {type(error).__name__}"}
    return {"status": "ok"}


def _processes(now: datetime) -> dict[str, dict[str, Any]]:
    """The worker and the sweeper, by the last sign of life of any process of the role; the stream
    process too where one runs, for it need not.
    """
    seen = backlog.last_heartbeats()
    checks: dict[str, dict[str, Any]] = {}
    for role in ("worker", "sweeper", *(["stream"] if "stream" in seen else [])):
        beat_at = seen.get(role)
        if beat_at is None:
            checks[role] = {"status": "degraded", "reason": "has never been seen"}
            continue
        age_seconds = round((now - beat_at).total_seconds(), 1)
        silent = age_seconds > SILENT_AFTER_SECONDS
        checks[role] = {"status": "degraded" if silent else "ok", "age_seconds": age_seconds}
    return checks


def _inbox(now: datetime) -> dict[str, Any]:
    oldest = backlog.oldest_due("inbox")
    age_seconds = 0.0 if oldest is None else round(max(0.0, (now - oldest).total_seconds()), 1)
    old = age_seconds > INBOX_OLD_AFTER_SECONDS
    return {"status": "degraded" if old else "ok", "oldest_age_seconds": age_seconds}
