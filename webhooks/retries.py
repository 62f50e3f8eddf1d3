"""When to try again, and when to stop.

Mental model: two policies that must not be mixed. Inside (handlers, provider events) a failure is
ours: three of them and a person looks. Outside (merchants' servers) a failure is weather: ten
attempts over three days. A delay is drawn here and stored as `due_at`, so time is data and tests
can move it. An interruption (the process died, the database stopped) is neither.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

Uniform = Callable[[float, float], float]
_random = random.SystemRandom()

FAILURE_LIMIT = 3
INTERRUPTION_LIMIT = 20
BACKOFF_BASE_SECONDS = 5.0
BACKOFF_CAP_SECONDS = 3600.0

# A deferred event waits for another one, mostly our own commit a moment later, rarely for hours.
DEFERRAL_SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
DEFERRAL_LIFETIME = timedelta(days=3)
# What it waits for is committed within the deadline of one call and its margins; after two minutes
# the provider is asked (webhooks.questions).
DEFERRAL_PATIENCE = timedelta(minutes=2)

# 10 attempts within 71 h 35 min: the delay after attempt n is entry n - 1.
_MINUTE, _HOUR = 60, 3600
MERCHANT_SCHEDULE_SECONDS = (
    5,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    20 * _HOUR,
)
MERCHANT_ATTEMPT_LIMIT = len(MERCHANT_SCHEDULE_SECONDS) + 1
RETRY_AFTER_CAP_SECONDS = 24 * _HOUR
# "Slow down" (Standard Webhooks): too many requests, or a gateway that gets no answer.
THROTTLING_STATUSES = frozenset({429, 502, 504})
THROTTLE_SECONDS = 60.0
THROTTLE_CAP_SECONDS = 1.0 * _HOUR

_ERROR_CAP_CHARACTERS = 8000
# serialization_failure, deadlock_detected, lock_not_available
_TRANSIENT_SQLSTATES = frozenset({"40001", "40P01", "55P03"})


def decorrelated_backoff_seconds(
    previous_seconds: float, *, uniform: Uniform = _random.uniform
) -> float:
    """The next delay: between the base and three times the last one, never above the cap.

    "Decorrelated jitter" (AWS Architecture Blog, Exponential Backoff And Jitter): grows like an
    exponential, but never lets many failures of one moment meet again at one later moment.
    """
    upper = max(BACKOFF_BASE_SECONDS, previous_seconds) * 3
    return min(BACKOFF_CAP_SECONDS, uniform(BACKOFF_BASE_SECONDS, upper))


def deferral_seconds(deferrals: int, *, uniform: Uniform = _random.uniform) -> float:
    """The wait after the `deferrals`-th deferral (from 1), within 20 % of the schedule."""
    step = DEFERRAL_SECONDS[min(deferrals, len(DEFERRAL_SECONDS)) - 1]
    return step * uniform(0.8, 1.2)


def interruption_seconds(interruptions: int) -> float:
    """The pause before a run that was interrupted more than once: 1 s, 2 s, 4 s ... 60 s."""
    return float(min(60, 2 ** max(0, interruptions - 2)))


def merchant_delay_seconds(
    attempts: int,
    *,
    retry_after_seconds: float | None,
    status: int | None = None,
    uniform: Uniform = _random.uniform,
) -> float | None:
    """The delay after `attempts` failed attempts, or None when they are used up.

    A merchant's Retry-After can lengthen the wait up to a day, never shorten it; after a `status`
    that asks to slow down it is a minute at least.
    """
    if attempts >= MERCHANT_ATTEMPT_LIMIT:
        return None
    delay = MERCHANT_SCHEDULE_SECONDS[attempts - 1] * uniform(0.8, 1.2)
    if status in THROTTLING_STATUSES:
        delay = max(delay, THROTTLE_SECONDS * uniform(1.0, 1.2))
    return max(delay, min(retry_after_seconds or 0.0, RETRY_AFTER_CAP_SECONDS))


def throttle_seconds(status: int | None, *, retry_after_seconds: float | None) -> float | None:
    """How long an endpoint gets nothing at all after `status`; None when it did not ask for it.

    A minute, or what its Retry-After says up to an hour. What waits meanwhile uses up no attempt.
    """
    if status not in THROTTLING_STATUSES:
        return None
    return min(THROTTLE_CAP_SECONDS, max(THROTTLE_SECONDS, retry_after_seconds or 0.0))


def parse_retry_after(value: str, *, now: datetime) -> float | None:
    """Seconds from a Retry-After header (RFC 9110 10.2.3: seconds or a date), None if neither."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):  # the last for a zone or year of many digits
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def is_transient(error: BaseException) -> bool:
    """Whether a database error is nobody's fault and worth a repeat: two transactions met."""
    return getattr(error.__cause__, "sqlstate", None) in _TRANSIENT_SQLSTATES


def describe_error(error: BaseException) -> tuple[str, str]:
    """(one line for a list, capped traceback for a page) of an exception."""
    reason = f"{type(error).__name__}: {error}"[:500]
    trace = "".join(traceback.format_exception(error))
    return reason, trace[-_ERROR_CAP_CHARACTERS:]
