"""Events on their way to merchants: promised once per endpoint, tried over three days.

Mental model: three steps, never a network call inside a transaction.

    claim   one committed statement gives a lease and a new fence to due deliveries, fairly
            between endpoints, and opens an attempt in the log
    send    HTTP in a thread that knows no database (webhooks.transport)
    record  the answer, accepted from the holder of the current fence only

A worker that dies between claim and record leaves a lease that runs out; the delivery is then
sent again under the same webhook-id, which is what the merchant deduplicates by.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from functools import partial

import structlog
from django.db import InterfaceError, OperationalError, transaction

from audit import log
from webhooks import (
    claims,
    destinations,
    endpoints,
    given_up,
    health,
    redelivery,
    retries,
    transport,
    wakeup,
)
from webhooks.claims import ClaimedDelivery, claim
from webhooks.doorbell import Doorbell
from webhooks.handlers import EventView, patterns_covering
from webhooks.models import MerchantDelivery, WebhookEndpoint

__all__ = [
    "ClaimedDelivery",
    "claim",
    "deliver",
    "discard",
    "fan_out",
    "record",
    "replay",
    "send",
]

GONE = 410
# How long a look for more work may be away while requests are open and no bell rings.
LOOK_SECONDS = 0.25
# An answer that met another transaction (a deadlock, a lock that is held) is stored again, after
# the answers of others; then it is left to its lease.
RECORD_TRIES = 3

logger = structlog.get_logger(__name__)

Status = MerchantDelivery.Status
Clock = Callable[[], datetime]
Send = Callable[..., transport.Answer]
_Answering = Future[transport.Answer]
_Running = dict[_Answering, ClaimedDelivery]


def fan_out(event: EventView, *, now: datetime) -> None:
    """Event handler: promise `event` to every enabled endpoint of its owner that asks for it."""
    if not event.owner or event.type == redelivery.TEST_EVENT:
        return  # nobody's, or promised already to the one endpoint it tests
    listening = WebhookEndpoint.objects.filter(
        owner=event.owner,
        livemode=event.livemode,
        status=WebhookEndpoint.Status.ENABLED,
        event_types__overlap=sorted(patterns_covering(event.type)),
    )
    if event.type == given_up.EVENT:
        listening = listening.exclude(pk=event.aggregate_id)
    promised = [
        MerchantDelivery(endpoint_id=endpoint_id, event_id=event.id, due_at=now, created_at=now)
        for endpoint_id in listening.values_list("pk", flat=True)
    ]
    if promised:
        MerchantDelivery.objects.bulk_create(promised, ignore_conflicts=True)
        wakeup.notify_on_commit("deliveries")


def send(
    claimed: ClaimedDelivery, *, post: Send = transport.post, **options: object
) -> transport.Answer:
    """Make the request of a claimed delivery. Touches no database; never raises."""
    return post(
        url=claimed.url,
        livemode=claimed.livemode,
        headers=claimed.headers,
        body=claimed.body,
        **{"resolver": destinations.resolver_for(claimed.event.owner), **options},
    )


def record(claimed: ClaimedDelivery, answer: transport.Answer, *, now: datetime) -> bool:
    """Store what came of a request; False when another worker has taken over since.

    2xx is success. 410 disables the endpoint, and so does a failure after days of nothing else.
    Everything else is tried again on the schedule of webhooks.retries, and then waits for a person.
    """
    ending = _ending(claimed, answer, now=now)
    with transaction.atomic(), log.acting_as(claims.ACTOR):
        accepted, streak = health.store(claimed, answer, ending, now=now)
        if accepted and ending.status == Status.DEAD:
            claims.announce_death(claimed, ending.reason, now=now)
    reason = _why_disabled(answer, streak, now=now) if accepted else ""
    if reason:
        with log.acting_as(claims.ACTOR):
            endpoints.disable(endpoint_id=claimed.endpoint_id, reason=reason, now=now)
    return accepted


def deliver(
    *,
    clock: Clock,
    stopping: Callable[[], bool],
    winding_down: Callable[[], bool] | None = None,
    idle_pause_seconds: float | None = None,
    doorbell: Doorbell | None = None,
    send: Send = send,
) -> int:
    """Claim, send and record until nothing is due; returns how many requests were made.

    With `idle_pause_seconds` it waits for more work instead, until `stopping()`. Who made new work
    rings `doorbell` to be served at once. While `winding_down()` it takes nothing of strained
    endpoints, so that it can stop soon. Requests run in threads; this thread alone talks to the
    database.
    """
    made, rested_at = 0, 0.0
    running: _Running = {}
    tries: Counter[_Answering] = Counter()
    senders = claims.senders()
    threads = senders.healthy + senders.strained
    with ExitStack() as stack:
        bell = doorbell or stack.enter_context(closing(Doorbell()))
        pool = stack.enter_context(ThreadPoolExecutor(threads, thread_name_prefix="deliver"))
        while True:
            if not stopping():
                time.sleep(max(0.0, rested_at - time.monotonic()))
                began = time.monotonic()
                strained = sum(claimed.strained for claimed in running.values())
                leaving = winding_down is not None and winding_down()
                for claimed in claim(
                    now=clock(),
                    limit=senders.healthy - (len(running) - strained),
                    strained_limit=0 if leaving else senders.strained - strained,
                ):
                    future = pool.submit(partial(send, claimed))
                    running[future] = claimed
                    future.add_done_callback(lambda _: bell.ring())
                # Bells that ring close together are answered by one look.
                rested_at = 2 * time.monotonic() - began
            if running:
                bell.wait(LOOK_SECONDS)
                made += _record_answers(running, tries, clock)
            elif idle_pause_seconds is None or stopping():
                return made
            else:
                bell.wait(idle_pause_seconds)


def _record_answers(running: _Running, tries: Counter[_Answering], clock: Clock) -> int:
    """Store the answers that have come; returns for how many requests there is no more to do."""
    ended = 0
    for future in [future for future in running if future.done()]:
        tries[future] += 1
        last = tries[future] == RECORD_TRIES
        if _record_alone(running[future], future, last=last, now=clock()):
            del running[future], tries[future]
            ended += 1
    return ended


def _record_alone(
    claimed: ClaimedDelivery, future: _Answering, *, last: bool, now: datetime
) -> bool:
    """`record`, so that one answer that cannot be stored does not cost the answers of the others,
    which would be sent again. Its lease runs out, which counts as an interruption. False when it
    is worth another try and this was not the `last`.
    """
    try:
        record(claimed, future.result(), now=now)
    except (OperationalError, InterfaceError) as error:
        if not retries.is_transient(error):
            raise  # nothing can be stored
        logger.warning("delivery.record_met_another", delivery=claimed.id, last=last)
        return last
    except Exception:
        logger.exception("delivery.not_recorded", delivery=claimed.id)
    return True


def replay(delivery_ids: Collection[str], *, actor: log.Actor, now: datetime) -> int:
    """Queue dead deliveries again with a fresh schedule; returns how many were dead."""
    with transaction.atomic(), log.acting_as(actor):
        rows = _locked_dead(delivery_ids)
        for row in rows:
            _audit(row, "merchant_delivery.replayed", reason=row.reason, now=now)
            row.status, row.due_at, row.finished_at = Status.PENDING, now, None
            row.attempts, row.interruptions = 0, 0
            row.save(update_fields=["status", "due_at", "finished_at", "attempts", "interruptions"])
        wakeup.notify_on_commit("deliveries")
    return len(rows)


def discard(delivery_ids: Collection[str], *, reason: str, actor: log.Actor, now: datetime) -> int:
    """Give dead deliveries up for good, with words; returns how many were dead.

    Raises ValueError without a reason.
    """
    if not reason.strip():
        raise ValueError("Say why these deliveries are given up; the words stay with them.")
    with transaction.atomic(), log.acting_as(actor):
        rows = _locked_dead(delivery_ids)
        for row in rows:
            _audit(row, "merchant_delivery.discarded", reason=reason, now=now)
            row.status, row.reason, row.finished_at = Status.DISCARDED, reason, now
            row.save(update_fields=["status", "reason", "finished_at"])
    return len(rows)


def _locked_dead(delivery_ids: Collection[str]) -> list[MerchantDelivery]:
    dead = MerchantDelivery.objects.filter(pk__in=delivery_ids, status=Status.DEAD)
    return list(dead.select_related("event").select_for_update(of=("self",)).order_by("pk"))


def _why_disabled(answer: transport.Answer, streak: health.Streak | None, *, now: datetime) -> str:
    if answer.status == GONE:
        return "it answered 410 Gone"
    if streak is not None and streak.has_lasted_too_long(now=now):
        return (
            f"{streak.failures} requests failed since {streak.since:%Y-%m-%d %H:%M} UTC "
            "and none succeeded"
        )
    return ""


def _ending(claimed: ClaimedDelivery, answer: transport.Answer, *, now: datetime) -> health.Ending:
    """What the answer makes of the delivery."""
    if answer.succeeded:
        return health.Ending(status=Status.DELIVERED, reason="", due_at=None)
    attempts = claimed.attempts + 1
    delay_seconds = retries.merchant_delay_seconds(
        attempts,
        retry_after_seconds=retries.parse_retry_after(answer.retry_after, now=now),
        status=answer.status,
    )
    if delay_seconds is None:
        reason = f"{attempts} attempts failed, the last with: {answer.error}"
        return health.Ending(status=Status.DEAD, reason=reason, due_at=None)
    return health.Ending(
        status=Status.RETRYING,
        reason=answer.error,
        due_at=now + timedelta(seconds=delay_seconds),
    )


def _audit(row: MerchantDelivery, event_type: str, *, reason: str, now: datetime) -> None:
    log.append(
        event_type=event_type,
        stream_type="dead_letter",
        stream_id=f"merchant:{row.pk}",
        body={"event": row.event_id, "endpoint": row.endpoint_id, "reason": reason},
        references=[("event", row.event_id), (row.event.aggregate_type, row.event.aggregate_id)],
        occurred_at=now,
    )
