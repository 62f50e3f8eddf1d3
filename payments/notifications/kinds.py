"""Everything that staff can be told of: one table, with its words and what causes it.

Mental model: a kind is caused by domain events (its `events`; `notice_of` turns one into words) or
by a condition that is looked for (payments.notifications.conditions). What it blocks and what to do
about it stand here once; what happened is worded by payments.notifications.events.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from payments.notifications.notice import Notice


class Severity(StrEnum):
    """How much haste it has."""

    URGENT = "urgent"
    WARNING = "warning"
    INFORMATION = "information"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of news. `audience` says which group of staff it is for; `blocks` and `to_do` are
    told with every notice of it; `list_page` is the back office's list of what it is about.
    """

    name: str
    title: str
    severity: Severity
    audience: str
    blocks: str
    to_do: str
    list_page: str
    events: tuple[str, ...] = ()


_TABLE = (
    Kind(
        name="dead_letter",
        list_page="webhooks_deadletter_changelist",
        title="Something gave up and waits for a person",
        severity=Severity.URGENT,
        audience="Operations",
        events=("dead_letter.added", "request.given_up"),
        blocks="It will not be tried again by itself. Where order matters, later news about the "
        "same thing waits behind it.",
        to_do="Open it and read why it gave up. Once the cause is mended, press “Replay”; if it "
        "is not needed any more, discard it and write why.",
    ),
    Kind(
        name="discrepancy",
        list_page="payments_reviewcase_changelist",
        title="A provider contradicts our books",
        severity=Severity.URGENT,
        audience="Finance, Compliance",
        events=("payment.contradicted",),
        blocks="The books keep what they had; what the provider says is not taken over until "
        "somebody has decided.",
        to_do="Open the payment, compare what the provider says with our books, and decide its "
        "review case.",
    ),
    Kind(
        name="review_case",
        list_page="payments_reviewcase_changelist",
        title="A payment waits for a decision",
        severity=Severity.WARNING,
        audience="Finance, Compliance",
        events=("review.opened",),
        blocks="A payment in review goes no further until somebody has decided.",
        to_do="Open the case. It says what was met and which decisions there are.",
    ),
    Kind(
        name="dispute_opened",
        list_page="payments_dispute_changelist",
        title="A payer disputes a payment",
        severity=Severity.WARNING,
        audience="Finance",
        events=("dispute.opened",),
        blocks="The provider may hold back the disputed amount until the dispute is over.",
        to_do="Collect the evidence and hand it in before the deadline, or accept the dispute.",
    ),
    Kind(
        name="dispute_deadline",
        list_page="payments_dispute_changelist",
        title="The answer to a dispute is due soon",
        severity=Severity.URGENT,
        audience="Finance",
        blocks="Without an answer in time the dispute is lost, and the money with it.",
        to_do="Open the dispute and hand in the evidence, or accept it.",
    ),
    Kind(
        name="breaker_opened",
        list_page="payments_provideraccount_changelist",
        title="A provider is left alone",
        severity=Severity.URGENT,
        audience="Operations",
        events=("breaker.opened",),
        blocks="Requests of this kind are not sent to the provider for now; new payments that "
        "need them are refused or wait.",
        to_do="Look at the provider's status page. Florin tries again by itself and tells when "
        "the provider answers; nothing has to be pressed.",
    ),
    Kind(
        name="breaker_closed",
        list_page="payments_provideraccount_changelist",
        title="A provider answers again",
        severity=Severity.INFORMATION,
        audience="Operations",
        events=("breaker.closed",),
        blocks="Nothing any more: requests go out as usual.",
        to_do="Nothing. What was left open is being asked for by itself.",
    ),
    Kind(
        name="endpoint_failing",
        list_page="webhooks_webhookendpoint_changelist",
        title="A merchant's endpoint does not take its webhooks",
        severity=Severity.WARNING,
        audience="Operations",
        events=("endpoint.failing",),
        blocks="The merchant does not hear of its payments. Deliveries are tried again for three "
        "days; an endpoint that goes on failing is disabled.",
        to_do="Tell the merchant. The endpoint's page shows the attempts and their answers.",
    ),
    Kind(
        name="endpoint_disabled",
        list_page="webhooks_webhookendpoint_changelist",
        title="A merchant's endpoint was disabled",
        severity=Severity.WARNING,
        audience="Operations",
        events=("endpoint.disabled",),
        blocks="Nothing is sent to this endpoint any more; the merchant does not hear of its "
        "payments.",
        to_do="Tell the merchant. It can enable the endpoint again once it works.",
    ),
    Kind(
        name="partitions_missing",
        list_page="index",
        title="A log is running out of room",
        severity=Severity.URGENT,
        audience="Operations",
        blocks="When the room of the audit trail ends, no payment can be made. The inbox goes on, "
        "and keeps what has no month where it costs more.",
        to_do="See that the sweeper runs; it makes the next months by itself. Its job "
        "“ensure_…_partitions” and the last error of it stand in the database.",
    ),
    Kind(
        name="process_silent",
        list_page="index",
        title="A process gives no sign of life",
        severity=Severity.URGENT,
        audience="Operations",
        blocks="What this process does is done by the others, more slowly, or waits.",
        to_do="Start it again and look at its log.",
    ),
    Kind(
        name="queue_late",
        list_page="index",
        title="A queue is late",
        severity=Severity.WARNING,
        audience="Operations",
        blocks="News waits longer than it should: payments show an older state, and merchants "
        "hear of them late.",
        to_do="See whether worker and sweeper run, and whether a dead letter holds others up.",
    ),
    Kind(
        name="notification_failed",
        list_page="payments_notification_changelist",
        title="A notification could not be delivered",
        severity=Severity.WARNING,
        audience="Operations",
        blocks="Whoever it was for does not know what it said.",
        to_do="Open it, tell the person, and correct the rule. It can be sent again from there.",
    ),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _TABLE}
# What a person asked for to see whether it arrives; no rule can ask for it.
TEST = Kind(
    name="test",
    list_page="payments_notificationrule_changelist",
    title="A test from Florin",
    severity=Severity.INFORMATION,
    audience="whoever asked for it",
    blocks="Nothing.",
    to_do="Nothing: it has arrived.",
)
# Tells of itself: its own failures are not told again.
FAILED = KINDS["notification_failed"]


def by_name(name: str) -> Kind:
    """The kind, also the one no rule can ask for. Raises KeyError."""
    return TEST if name == TEST.name else KINDS[name]


def event_types() -> list[str]:
    """The domain events that cause a notification; FLORIN_EVENT_HANDLERS names the same ones."""
    return [event for kind in _TABLE for event in kind.events]


def kind_of_event(event_type: str) -> Kind | None:
    """The kind that a domain event causes, if any."""
    return next((kind for kind in _TABLE if event_type in kind.events), None)


def notice(
    kind: Kind,
    *,
    subject: str,
    mode: str,
    happened: str,
    since: datetime,
    path: str,
    title: str = "",
    to_do: str = "",
    facts: tuple[tuple[str, str], ...] = (),
) -> Notice:
    """A notice of a kind, with the words that all of its notices share."""
    return Notice(
        kind=kind.name,
        subject=subject,
        mode=mode,
        title=title or kind.title,
        happened=happened,
        since=since,
        blocks=kind.blocks,
        to_do=to_do or kind.to_do,
        path=path,
        facts=facts,
    )
