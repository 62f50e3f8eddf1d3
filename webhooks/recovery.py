"""Everything since a moment, sent to one endpoint again: what failed, and what never went there.

Mental model: *failed* are deliveries that are dead or were discarded. *Missing* are events of the
endpoint's own owner and mode, of the types that it asks for now, that it was never promised: they
are older than the endpoint or than its wish for them, or happened while it was disabled. A
delivery is one per event and endpoint by a constraint, so whatever is asked for twice, or fanned
out at the same time, is there once. A call is bounded in time, in rows and by its owner; one that
repeats finds what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from webhooks import given_up, wakeup
from webhooks.endpoints import EndpointInvalid
from webhooks.models import DomainEvent, MerchantDelivery, WebhookEndpoint
from webhooks.redelivery import TEST_EVENT, audit, enabled_endpoint, living_endpoint

DAYS_MAX = 14
PER_CALL = 1000
COUNTED_MAX = 10_000
FAILED = "failed"
MISSING = "missing"
KINDS = (FAILED, MISSING)

# An event's id is made a moment before its row: so far apart they never are.
_IDS_AND_TIMES_APART = timedelta(hours=1)
Status = MerchantDelivery.Status


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """How many deliveries are queued, `missing` of them new; `has_more` when another call would
    find some.
    """

    recovered: int
    missing: int
    has_more: bool


@dataclass(frozen=True, kw_only=True)
class Recoverable:
    """How many there are of each kind, counted up to COUNTED_MAX."""

    failed: int
    missing: int


def recover(
    *,
    owner: str,
    livemode: bool,
    endpoint_id: str,
    since: datetime,
    include: Collection[str] = (FAILED,),
    now: datetime,
    within: Callable[[Recovery], None] | None = None,
) -> Recovery:
    """Queue what failed, or is missing, since `since`, each the oldest first.

    At most PER_CALL at a time. `within` is called in the transaction. Raises EndpointNotFound,
    EndpointInvalid (not enabled; `since` over 14 days ago or in the future; an unknown kind).
    """
    _judge(since, include, now=now)
    with transaction.atomic():
        endpoint = enabled_endpoint(owner, livemode, endpoint_id)
        failed: Sequence[str] = _requeue(endpoint, since, now=now) if FAILED in include else ()
        room = PER_CALL - min(len(failed), PER_CALL)
        missing: Sequence[str] = ()
        if MISSING in include:
            events = _missing(endpoint, since).order_by("pk").values_list("pk", flat=True)
            missing = list(events[: room + 1])
        made = _promise(endpoint, missing[:room], now=now)
        found = Recovery(
            recovered=min(len(failed), PER_CALL) + made,
            missing=made,
            has_more=len(failed) > PER_CALL or len(missing) > room,
        )
        if found.recovered:
            wakeup.notify_on_commit("deliveries")
        said = {
            "since": since.isoformat(),
            "include": sorted(include),
            "recovered": found.recovered,
            "missing": made,
        }
        audit(endpoint, "recovered", said, now=now)
        if within is not None:
            within(found)
    return found


def count(
    *, owner: str, livemode: bool, endpoint_id: str, since: datetime, now: datetime
) -> Recoverable:
    """What `recover` would find now. Raises EndpointNotFound, EndpointInvalid (`since`)."""
    _judge(since, KINDS, now=now)
    endpoint = living_endpoint(owner, livemode, endpoint_id)
    return Recoverable(
        failed=_failed(endpoint, since)[:COUNTED_MAX].count(),
        missing=_missing(endpoint, since)[:COUNTED_MAX].count(),
    )


def _judge(since: datetime, include: Collection[str], *, now: datetime) -> None:
    if not now - timedelta(days=DAYS_MAX) <= since <= now:
        raise EndpointInvalid("since", f"Give a moment of the last {DAYS_MAX} days.")
    if not include or not set(include) <= set(KINDS):
        raise EndpointInvalid("include", f"Name one or both of {', '.join(KINDS)}.")


def _failed(endpoint: WebhookEndpoint, since: datetime) -> QuerySet[MerchantDelivery]:
    return MerchantDelivery.objects.filter(
        endpoint=endpoint, status__in=(Status.DEAD, Status.DISCARDED), created_at__gte=since
    )


def _requeue(endpoint: WebhookEndpoint, since: datetime, *, now: datetime) -> list[str]:
    """The failed ones, one more than are queued if there are more."""
    rows = _failed(endpoint, since).select_for_update().order_by("created_at", "pk")
    ids = list(rows.values_list("pk", flat=True)[: PER_CALL + 1])
    MerchantDelivery.objects.filter(pk__in=ids[:PER_CALL]).update(
        status=Status.PENDING,
        reason="",
        due_at=now,
        finished_at=None,
        attempts=0,
        interruptions=0,
    )
    return ids


def _missing(endpoint: WebhookEndpoint, since: datetime) -> QuerySet[DomainEvent]:
    """Events of the endpoint's owner and mode that it asks for and was never promised.

    The index on (owner, livemode, id) is read from the end back to `since`: what is older costs
    nothing.
    """
    own = DomainEvent.objects.filter(owner=endpoint.owner, livemode=endpoint.livemode)
    older = own.filter(created_at__lt=since - _IDS_AND_TIMES_APART).order_by("-pk")
    last_older = older.values_list("pk", flat=True).first() or ""
    promised = MerchantDelivery.objects.filter(event_id=OuterRef("pk"), endpoint=endpoint)
    return (
        own.filter(_asked_for(endpoint.event_types), pk__gt=last_older, created_at__gte=since)
        .exclude(type=TEST_EVENT)
        .exclude(type=given_up.EVENT, aggregate_id=endpoint.pk)
        .exclude(Exists(promised))
    )


def _asked_for(patterns: Sequence[str]) -> Q:
    """The events that one of `patterns` covers."""
    if "*" in patterns:
        return Q()
    wanted = Q(type__in=[pattern for pattern in patterns if not pattern.endswith(".*")])
    for pattern in patterns:
        if pattern.endswith(".*"):
            wanted |= Q(type__startswith=pattern.removesuffix("*"))
    return wanted


def _promise(endpoint: WebhookEndpoint, event_ids: Sequence[str], *, now: datetime) -> int:
    """A delivery of each event; returns how many were not there yet."""
    made = [
        MerchantDelivery(endpoint=endpoint, event_id=event_id, due_at=now, created_at=now)
        for event_id in event_ids
    ]
    MerchantDelivery.objects.bulk_create(made, ignore_conflicts=True)
    return MerchantDelivery.objects.filter(pk__in=[row.pk for row in made]).count()
