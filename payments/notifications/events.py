"""From a domain event to what a person is told of it.

Mental model: one function per kind, from the event's payload to a notice. Only what is named here
leaves the house: ids, amounts, names of businesses, dates and words of our own. A reason that some
program gave, or an address that a merchant chose, stays behind the login; of the latter its host is
told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.urls import NoReverseMatch, reverse

from payments.amounts import amount_words
from payments.models import Merchant, ProviderAccount, ReviewCase
from payments.notifications import kinds
from payments.notifications.kinds import Kind
from payments.notifications.notice import Notice
from webhooks.handlers import EventView

Facts = tuple[tuple[str, str], ...]

_DEAD = {
    "inbox": "News from a provider could not be applied",
    "handler": "A handler of our own could not take an event",
    "merchant": "An event could not be delivered to a merchant",
}
_OPERATIONS = {
    "create": "making payments",
    "money": "capturing and canceling",
    "refund": "refunds",
    "dispute": "answering disputes",
    "query": "asking how payments stand",
}


def notice_of(event: EventView) -> Notice | None:
    """What staff are told of an event; None when it is told by another event already."""
    kind = kinds.kind_of_event(event.type)
    return None if kind is None else _WORDING[kind.name](kind, event)


def page(name: str, *arguments: str) -> str:
    """The path of a page of the back office; its landing page where there is no such page."""
    try:
        return reverse(f"admin:{name}", args=arguments)
    except NoReverseMatch:
        return reverse("admin:index")


def _mode(event: EventView) -> str:
    return "live" if event.livemode else "test"


def _dead_letter(kind: Kind, event: EventView) -> Notice:
    payload = event.payload
    if event.type == "request.given_up":
        return _given_up_request(kind, event)
    # "payment.settled to https://..." names a merchant's address, which may hold a secret of its.
    what = str(payload["what"])
    if payload["kind"] == "merchant":
        what = what.partition(" to ")[0]
    return kinds.notice(
        kind,
        subject=event.aggregate_id,
        mode=_mode(event),
        happened=f"{_DEAD.get(payload['kind'], 'Something could not be done')}: {what}.",
        since=event.occurred_at,
        path=page("webhooks_deadletter_change", event.aggregate_id),
        facts=(("Number", str(payload["id"])),),
    )


def _given_up_request(kind: Kind, event: EventView) -> Notice:
    request = event.payload
    facts: Facts = (("Request", str(request["request"])),) if request["request"] else ()
    if request["payment"]:
        facts = (*facts, ("Payment", str(request["payment"])))
    return kinds.notice(
        kind,
        subject=f"request:{request['id']}",
        mode=_mode(event),
        happened=f"A merchant's request could not be carried out: {request['operation']}.",
        since=event.occurred_at,
        path=page("payments_givenuprequest_change", str(request["id"])),
        to_do="Open it and read why. Once the cause is mended, press “Try again”; or forget it and "
        "write why. Nothing of it was done.",
        facts=(*facts, *_merchant(str(request["merchant"]))),
    )


def _discrepancy(kind: Kind, event: EventView) -> Notice:
    payment = event.payload
    return kinds.notice(
        kind,
        subject=str(payment["id"]),
        mode=_mode(event),
        happened="What the provider says about a payment does not fit what our books say.",
        since=event.occurred_at,
        path=page("payments_payment_change", str(payment["id"])),
        facts=(
            ("Payment", str(payment["id"])),
            ("Amount", amount_words(payment["amount_minor"], payment["currency"])),
            *_merchant(event.owner),
        ),
    )


def _review_case(kind: Kind, event: EventView) -> Notice | None:
    case = event.payload
    if case["kind"] == ReviewCase.Kind.CONTRADICTION:
        return None  # payment.contradicted, emitted with it, says so
    label = dict(ReviewCase.Kind.choices).get(case["kind"], str(case["kind"]))
    return kinds.notice(
        kind,
        subject=str(case["id"]),
        mode=_mode(event),
        happened=f"A case was opened about a payment: {label}.",
        since=event.occurred_at,
        path=page("payments_reviewcase_change", str(case["id"])),
        facts=(
            ("Case", str(case["id"])),
            ("Payment", str(case["payment"])),
            *_merchant(event.owner),
        ),
    )


def _dispute(kind: Kind, event: EventView) -> Notice:
    dispute = event.payload
    amount = amount_words(dispute["amount_minor"], dispute["currency"])
    return kinds.notice(
        kind,
        subject=str(dispute["id"]),
        mode=_mode(event),
        title=f"Dispute over {amount}",
        happened=f"The payer's bank disputes {amount} of a payment.",
        since=event.occurred_at,
        path=page("payments_dispute_change", str(dispute["id"])),
        facts=dispute_facts(dispute, event.owner),
    )


def dispute_facts(dispute: Mapping[str, Any], merchant_id: str) -> Facts:
    """What is told of a dispute beside the sentence."""
    due = dispute["evidence_due_at"]
    return (
        ("Dispute", str(dispute["id"])),
        ("Payment", str(dispute["payment"])),
        ("Evidence due", moment_words(datetime.fromisoformat(due)) if due else "no deadline told"),
        *_merchant(merchant_id),
    )


def moment_words(moment: datetime) -> str:
    """A time in UTC, "20 Nov 2026, 19:04 UTC"."""
    return moment.strftime("%d %b %Y, %H:%M UTC")


def _breaker(kind: Kind, event: EventView) -> Notice:
    breaker = event.payload
    opened = kind.name == "breaker_opened"
    provider = str(breaker["provider"]).title()
    doing = _OPERATIONS.get(breaker["operation_class"], str(breaker["operation_class"]))
    account = ProviderAccount.objects.filter(pk=breaker["provider_account"]).first()
    figures: Facts = ()
    if opened and breaker["calls"]:
        failed = f"{breaker['failures']} of {breaker['calls']}"
        figures = (("Calls failed", failed), ("Calls too slow", str(breaker["slow_calls"])))
    return kinds.notice(
        kind,
        subject=str(breaker["id"]),
        mode=_mode(event),
        title=f"{provider} is left alone" if opened else f"{provider} answers again",
        happened=f"Too many requests to {provider} failed or were slow, so {doing} stopped there."
        if opened
        else f"{provider} answers again: {doing} goes on as usual.",
        since=event.occurred_at,
        path=page("payments_provideraccount_change", str(breaker["provider_account"])),
        facts=(
            ("Provider account", account.name if account else str(breaker["provider_account"])),
            *figures,
        ),
    )


def _endpoint(kind: Kind, event: EventView) -> Notice:
    disabled = kind.name == "endpoint_disabled"
    return kinds.notice(
        kind,
        subject=event.aggregate_id,
        mode=_mode(event),
        happened="An endpoint of a merchant was disabled."
        if disabled
        else "An endpoint of a merchant has not taken what it was sent for some time.",
        since=event.occurred_at,
        path=page("webhooks_webhookendpoint_change", event.aggregate_id),
        facts=(("Endpoint", event.aggregate_id), *_host(event), *_merchant(event.owner)),
    )


def _host(event: EventView) -> Facts:
    """The host of an endpoint's address: its path, query and user may hold a secret."""
    host = urlsplit(str(event.payload.get("url", ""))).hostname
    return (("Host", host),) if host else ()


def _merchant(merchant_id: str) -> Facts:
    known = Merchant.objects.filter(pk=merchant_id).first()
    return (("Merchant", known.name),) if known else ()


_WORDING: dict[str, Callable[[Kind, EventView], Notice | None]] = {
    "dead_letter": _dead_letter,
    "discrepancy": _discrepancy,
    "review_case": _review_case,
    "dispute_opened": _dispute,
    "breaker_opened": _breaker,
    "breaker_closed": _breaker,
    "endpoint_failing": _endpoint,
    "endpoint_disabled": _endpoint,
}
