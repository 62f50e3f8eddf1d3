"""Apply one stored, verified provider event to its payment: webhooks are hints, in order.

Mental model: called by the inbox drain inside its durable transaction, one savepoint per event,
with the subject's head locked. It finds the attempt the event is about, locks the payment, and
hands the news to `observe`. Nothing here talks to the network: an event that only hints ("look at
this charge") makes the payment due for a poll instead. An event whose payment we do not know yet
waits: its row may not be committed, or the answer that names it is still on its way.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import structlog
from django.db import transaction

from audit import log
from payments.access import locked_payment, read_again
from payments.actions.change import Cause, Change
from payments.actions.observe import REFUSALS, ContradictoryNews, Effect, observe
from payments.actions.observe_dispute import observe_dispute
from payments.actions.observe_refund import observe_refund
from payments.models import Attempt, Payment, ProviderAccount
from payments.providers import provider_for
from payments.providers.base import Observation
from webhooks.inbox import Applied, InboxEventView

logger = structlog.get_logger(__name__)


def apply_provider_event(event: InboxEventView, *, now: datetime) -> Applied:
    """Take one inbox event in and say what it did: processed, superseded, deferred or ignored.

    Raises UnreadableEvent, which the inbox counts as a failure and, after three, hands to a person.
    """
    observation = provider_for(event.provider).observe_webhook(event.raw)
    if not observation.relevant:
        return Applied(outcome="ignored", reason=f"{event.event_type} is not about a payment")
    if _is_of_the_other_mode(event, observation):
        logger.warning("provider_event.of_the_other_mode", inbox=event.id, account=event.account_id)
        said = "live" if observation.livemode else "test"
        return Applied(outcome="ignored", reason=f"a {said} event, and the account is not {said}")
    attempt = _attempt_for(event, observation)
    if attempt is None and not observation.our_reference:
        return Applied(outcome="ignored", reason="the provider's object is not one of ours")
    if attempt is None:
        return Applied(outcome="deferred", reason="no payment with this reference yet")
    with log.acting_as(log.Actor(type="psp", id=event.provider, display=event.account_id)):
        try:
            with transaction.atomic():
                return _apply(event, observation, attempt, now=now)
        except ContradictoryNews as contradiction:
            return _hand_to_a_person(event, attempt, str(contradiction), now=now)


def _is_of_the_other_mode(event: InboxEventView, observation: Observation) -> bool:
    """Whether the PSP says test where the account is live, or the reverse. It is not refused at the
    door: PSPs send both modes to one address in ways of their own, repeat for days what is refused
    and then switch the address off, for the right events too.
    """
    if observation.livemode is None:
        return False
    account = ProviderAccount.objects.only("livemode").get(pk=event.account_id)
    return account.livemode != observation.livemode


def _apply(
    event: InboxEventView, observation: Observation, attempt: Attempt, *, now: datetime
) -> Applied:
    payment = locked_payment(attempt.payment_id)
    attempt = read_again(attempt)
    change = Change(payment, cause=Cause(type="provider_event", id=event.id), now=now)
    effect, refused = _take_in(change, attempt, observation)
    unsure = refused and effect == Effect.SUPERSEDED and attempt.state == Attempt.State.SUBMITTED
    asks = observation.fetch_needed or unsure
    if asks or effect in (Effect.UNRECOGNISED, Effect.UNSURE):
        payment.poll_due_at = now
    had_effect = effect in (Effect.APPLIED, Effect.UNSURE) or observation.fetch_needed
    outcome: Literal["processed", "superseded"] = "processed" if had_effect else "superseded"
    fetched = observation.fetch_needed or effect == Effect.UNSURE
    reason = "the payment is fetched for it" if fetched else effect.value
    applied = Applied(outcome=outcome, reason=reason, payment_id=payment.pk)
    audit_news(change, event, applied, observation.provider_reference)
    change.write()
    return applied


def audit_news(
    change: Change, event: InboxEventView, applied: Applied, provider_reference: str
) -> None:
    """Record with the payment what an inbox event did to it."""
    change.audit(
        "provider.event",
        {
            "event": event.event_id,
            "event_type": event.event_type,
            "inbox": event.id,
            "outcome": applied.outcome,
            "reason": applied.reason,
        },
        references=[
            ("inbox_event", event.id),
            ("provider_event", event.event_id),
            ("provider_payment", provider_reference),
        ],
    )


def _hand_to_a_person(
    event: InboxEventView, attempt: Attempt, words: str, *, now: datetime
) -> Applied:
    """The event contradicts our books: what it did is undone, and a case tells a person."""
    payment = locked_payment(attempt.payment_id)
    change = Change(payment, cause=Cause(type="provider_event", id=event.id), now=now)
    change.contradict(words)
    change.write()
    return Applied(outcome="processed", reason=words[:200], payment_id=payment.pk)


def _take_in(change: Change, attempt: Attempt, observation: Observation) -> tuple[Effect, bool]:
    """What the event's objects do, and whether its payment object tells a refusal."""
    snapshot, effect = observation.snapshot, Effect.SUPERSEDED
    refused = snapshot is not None and snapshot.status in REFUSALS
    # While a call is under way only its own answer may say that it was refused: this may be the
    # refusal of an earlier try.
    if snapshot is not None and not (refused and _call_under_way(change.payment)):
        effect = observe(change, attempt, snapshot, current=False)
    learnt = False
    if observation.refund is not None:
        learnt = observe_refund(change, attempt, observation.refund)
    if observation.dispute is not None:
        learnt = observe_dispute(change, attempt, observation.dispute) or learnt
    return (Effect.APPLIED if learnt and effect == Effect.SUPERSEDED else effect), refused


def _call_under_way(payment: Payment) -> bool:
    return payment.operations.filter(finished_at__isnull=True).exists()


def _attempt_for(event: InboxEventView, observation: Observation) -> Attempt | None:
    """The attempt an event binds to: by charge, by the PSP's object, else by our own reference,
    which is how news that overtakes our commit of the PSP's reference still finds its payment.
    """
    of_account = Attempt.objects.filter(provider_account_id=event.account_id)
    snapshot = observation.snapshot
    for part in (snapshot, observation.refund, observation.dispute):
        if part is not None and part.charge_reference:
            exact = of_account.filter(charge_reference=part.charge_reference).last_try()
            if exact is not None:
                return exact
    if observation.provider_reference:
        named = of_account.filter(provider_reference=observation.provider_reference).last_try()
        if named is not None:
            return named
    if not observation.our_reference:
        return None
    ours = Payment.objects.filter(
        pk=observation.our_reference, provider_account_id=event.account_id
    ).first()
    if ours is None:
        return None
    return of_account.filter(payment=ours, provider_reference="").last_try()
