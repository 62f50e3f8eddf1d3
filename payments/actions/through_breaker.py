"""Every call to a PSP goes through here: asked for, timed, judged, and its breaker's news told.

Mental model: the breaker of the account and the class of operation says whether the call may go
out. If not, the call ends as NOT_SENT (`provider_unavailable`) at once, with the time after which
asking again makes sense; the operation stays open and is driven on by the poller. Classes are kept
apart so that a PSP that cannot take new payments can still be asked about old ones. Nothing that
goes wrong with a breaker or with telling its news ever fails a call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache

import structlog
from django.conf import settings
from django.db import Error as DatabaseError

from payments.actions.tell_breakers import tell_change
from payments.models import ProviderAccount
from payments.providers.base import Exchange, Outcome, Result
from payments.providers.breaker import NOTHING, Admission, Breaker, Rules, judge
from payments.providers.refusals import refusal
from payments.quick_redis import shared_redis

# Kind of operation, or what else a PSP is asked -> class of operation. What is not named here
# makes or confirms something new.
_CLASSES = {
    "capture": "money",
    "cancel": "money",
    "increment": "money",
    "refund": "refund",
    "submit_evidence": "dispute",
    "accept_dispute": "dispute",
    "fetch": "query",
    "list_events": "query",
}
NEW = "create"
# A permit of a half-open breaker outlives the longest call by this much.
_PERMIT_MARGIN_SECONDS = 15.0

logger = structlog.get_logger(__name__)


def through_breaker(account: ProviderAccount, kind: str, call: Callable[[], Result]) -> Result:
    """`call()`, unless the account's breaker for this kind of operation is open.

    Raises only what `call` raises. Must not be called in a transaction.
    """
    of_account = breaker()
    admission = of_account.admit(f"{account.pk}:{_CLASSES.get(kind, NEW)}")
    if not admission.admitted:
        return _unavailable(kind, admission)
    verdict = NOTHING
    started = time.monotonic()
    try:
        result = call()
        verdict = judge(result, seconds=time.monotonic() - started, rules=of_account.rules)
        return result
    finally:
        change = of_account.record(admission, verdict)
        if change is not None:
            _tell(admission.name, change)


def breaker() -> Breaker:
    """The breakers of this installation, under the rules of its settings."""
    return _breaker_under(
        settings.REDIS_URL,
        Rules(
            window_seconds=settings.FLORIN_BREAKER_WINDOW_SECONDS,
            minimum_calls=settings.FLORIN_BREAKER_MINIMUM_CALLS,
            failure_ratio=settings.FLORIN_BREAKER_FAILURE_RATIO,
            slow_ratio=settings.FLORIN_BREAKER_FAILURE_RATIO,
            slow_call_seconds=settings.FLORIN_BREAKER_SLOW_CALL_SECONDS,
            open_seconds=settings.FLORIN_BREAKER_OPEN_SECONDS,
            permits=settings.FLORIN_BREAKER_PERMITS,
            permit_seconds=settings.FLORIN_PROVIDER_TIMEOUT_SECONDS + _PERMIT_MARGIN_SECONDS,
        ),
    )


@cache
def _breaker_under(redis_url: str, rules: Rules) -> Breaker:
    # The address is the key of this cache only: one process always asks the same Redis.
    return Breaker(shared=shared_redis(), rules=rules)


def _tell(name: str, change: str) -> None:
    try:
        tell_change(name, change, state=breaker().state(name), now=datetime.now(UTC))
    except DatabaseError:
        # The periodic job tells what was not told here.
        logger.warning("breaker.not_told", breaker=name, change=change, exc_info=True)


def _unavailable(kind: str, admission: Admission) -> Result:
    seconds = admission.retry_after_seconds
    words = f"The provider is not asked for {seconds:.0f} s: too many calls to it failed."
    exchange = Exchange(
        operation=kind,
        method="",
        url="",
        request={},
        http_status=None,
        response={},
        failure="The circuit breaker is open.",
    )
    return Result(
        outcome=Outcome.NOT_SENT,
        exchange=exchange,
        error=refusal("provider_unavailable", words),
        retry_after_seconds=seconds,
    )
