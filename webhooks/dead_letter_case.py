"""One dead letter as a person has to see it: why, which tries, what it holds up, what would help.

Mental model: read-only records gathered from the row, its log of tries and its lane. Every read
follows an index and is bounded; what is more than a page shows is only counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from webhooks.models import (
    DeadLetter,
    DeliveryAttempt,
    EventDelivery,
    FailedAttempt,
    InboxEvent,
    MerchantDelivery,
)

SHOWN_MAX = 50
_COUNT_MAX = 10_000


@dataclass(frozen=True, kw_only=True)
class Try:
    """One try: when it was recorded, what came of it, how long it took (None: nobody knows)."""

    number: int
    at: datetime
    outcome: str
    duration_ms: int | None
    words: str
    trace: str
    worker: str


@dataclass(frozen=True, kw_only=True)
class Held:
    """A later row of the same lane; `row` is its kind of page and its key."""

    page: str
    row_id: str
    what: str
    status: str
    since: datetime


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything about one dead letter. `payload` is JSON, or bytes as they came over the wire."""

    letter: DeadLetter
    tries: list[Try]
    tries_words: str
    held: list[Held]
    held_count: int
    held_words: str
    replay_words: str
    discard_words: str
    payload: Any
    headers: Mapping[str, str]
    about: tuple[str, str]
    endpoint_id: str


def case_of(letter: DeadLetter) -> Case:
    """Gather what is known. Raises ObjectDoesNotExist when the row is gone."""
    return _CASE_OF_KIND[letter.kind](letter)


def _inbox_case(letter: DeadLetter) -> Case:
    row = InboxEvent.objects.get(pk=letter.row_id)
    later = InboxEvent.objects.filter(
        lane=row.lane, arrival__gt=row.arrival, status__in=InboxEvent.OPEN
    )
    held = [
        Held(
            page="inboxevent",
            row_id=each.pk,
            what=each.event_type,
            status=each.status,
            since=each.received_at,
        )
        for each in later.defer("raw", "headers", "error").order_by("arrival")[:SHOWN_MAX]
    ]
    return Case(
        letter=letter,
        tries=_own_tries("inbox", letter.row_id),
        tries_words="",
        held=held,
        held_count=_count(later),
        held_words=(
            "A dead provider event holds nothing: later news about the same object passes it. "
            "Still open on this object:"
            if held
            else "Nothing. Later news about the same object has passed it."
        ),
        replay_words=(
            "The stored bytes are applied again, as if they had just arrived. If later news has "
            "overtaken it, it becomes “superseded” and changes nothing; if another delivery of "
            "the same event has had its effect, it becomes a “duplicate”."
        ),
        discard_words="It never has an effect, and neither has another delivery of this event.",
        payload=bytes(row.raw),
        headers=row.headers,
        about=("payment", row.payment_id) if row.payment_id else ("", row.subject),
        endpoint_id="",
    )


def _handler_case(letter: DeadLetter) -> Case:
    row = EventDelivery.objects.select_related("event").get(pk=int(letter.row_id))
    blocks = row.policy == EventDelivery.Policy.BLOCK
    later = EventDelivery.objects.none()
    if blocks:
        later = EventDelivery.objects.filter(
            lane=row.lane,
            handler=row.handler,
            seq__gt=row.seq,
            status__in=("pending", "failed", "dead"),
        )
    held = [
        Held(
            page="eventdelivery",
            row_id=str(each.pk),
            what=f"{each.event.type} (number {each.seq})",
            status=each.status,
            since=each.event.occurred_at,
        )
        for each in later.select_related("event").order_by("seq")[:SHOWN_MAX]
    ]
    return Case(
        letter=letter,
        tries=_own_tries("handler", letter.row_id),
        tries_words="",
        held=held,
        held_count=_count(later),
        held_words=_handler_holds(row, bool(held)),
        replay_words=(
            f"“{row.handler}” gets this event again with a fresh count of failures"
            + (", and what is held behind it follows in order. " if blocks else ". ")
            + "It has had no effect so far: each failed try was undone whole."
        ),
        discard_words=f"“{row.handler}” never sees this event"
        + ("; what is held behind it goes on without it." if blocks else "."),
        payload=row.event.payload,
        headers={},
        about=(row.event.aggregate_type, row.event.aggregate_id),
        endpoint_id="",
    )


def _handler_holds(row: EventDelivery, held: bool) -> str:
    if row.policy != EventDelivery.Policy.BLOCK:
        return f"Nothing: “{row.handler}” lets later events pass (policy skip)."
    if not held:
        return "Nothing yet. Later events of the same thing would wait behind it."
    return f"“{row.handler}” gets these events of the same thing only after this one:"


def _merchant_case(letter: DeadLetter) -> Case:
    row = MerchantDelivery.objects.select_related("event", "endpoint").get(pk=letter.row_id)
    log = DeliveryAttempt.objects.filter(delivery_id=row.pk).order_by("-number")[:SHOWN_MAX]
    state = row.endpoint.status
    answer = "is enabled" if state == "enabled" else f"is {state}, so the request would not be sent"
    return Case(
        letter=letter,
        tries=[
            Try(
                number=each.number,
                at=each.started_at,
                outcome=each.outcome,
                duration_ms=each.duration_ms,
                words=" ".join(
                    part
                    for part in (
                        f"HTTP {each.response_status}" if each.response_status else "",
                        each.error,
                    )
                    if part
                ),
                trace=each.response_body,
                worker=each.address,
            )
            for each in log
        ],
        tries_words="The answer's body, as far as it was kept, is folded.",
        held=[],
        held_count=0,
        held_words="Nothing: merchants get later events without waiting for this one.",
        replay_words=(
            f"The same event is sent again under the same webhook-id, with a fresh schedule of "
            f"tries. The endpoint {answer}."
        ),
        discard_words="Nobody sends it any more, unless the merchant asks for it again.",
        payload=row.event.payload,
        headers={},
        about=(row.event.aggregate_type, row.event.aggregate_id),
        endpoint_id=row.endpoint_id,
    )


def _own_tries(kind: str, row_id: str) -> list[Try]:
    found = FailedAttempt.objects.filter(kind=kind, row_id=row_id).order_by("-id")[:SHOWN_MAX]
    return [
        Try(
            number=each.number,
            at=each.recorded_at,
            outcome=each.outcome,
            duration_ms=each.duration_ms,
            words=each.reason,
            trace=each.error,
            worker=each.worker,
        )
        for each in found
    ]


def _count(rows: QuerySet[Any]) -> int:
    return rows.order_by()[:_COUNT_MAX].count()


_CASE_OF_KIND = {"inbox": _inbox_case, "handler": _handler_case, "merchant": _merchant_case}
