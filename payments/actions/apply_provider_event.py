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

from audit import log
from payments.access import locked_payment
from payments.actions.change import Cause, Change
from payments.actions.observe import REFUSALS, Effect, observe
from payments.models import Attempt, Payment
from payments.providers import provider_for
from payments.providers.base import Observation
from webhooks.inbox import Applied, InboxEventView


def apply_provider_event(event: InboxEventView, *, now: datetime) -> Applied:
    """Take one inbox event in and say what it did: processed, superseded, deferred or ignored.

    Raises ContradictoryNews or UnreadableEvent, which the inbox counts as a failure and, after
    three, hands to a person.
    """
    observation = provider_for(event.provider).observe_webhook(event.raw)
    if not observation.relevant:
        return Applied(outcome="ignored", reason=f"{event.event_type} is not about a payment")
    attempt = _attempt_for(event, observation)
    if attempt is None and not observation.our_reference:
        return Applied(outcome="ignored", reason="the provider's object is not one of ours")
    if attempt is None:
        return Applied(outcome="deferred", reason="no payment with this reference yet")
    with log.acting_as(log.Actor(type="psp", id=event.provider, display=event.account_id)):
        return _apply(event, observation, attempt, now=now)


def _apply(
    event: InboxEventView, observation: Observation, attempt: Attempt, *, now: datetime
) -> Applied:
    payment = locked_payment(attempt.payment_id)
    attempt.refresh_from_db()
    change = Change(payment, cause=Cause(type="provider_event", id=event.id), now=now)
    effect = Effect.SUPERSEDED
    snapshot = observation.snapshot
    refusal = snapshot is not None and snapshot.status in REFUSALS
    # While a call is under way only its own answer may say that it was refused: this may be the
    # refusal of an earlier try.
    if snapshot is not None and not (refusal and _call_under_way(payment)):
        effect = observe(change, attempt, snapshot, current=False)
    unsure = refusal and effect == Effect.SUPERSEDED and attempt.state == Attempt.State.SUBMITTED
    if observation.fetch_needed or effect == Effect.UNRECOGNISED or unsure:
        payment.poll_due_at = now
    had_effect = effect == Effect.APPLIED or observation.fetch_needed
    outcome: Literal["processed", "superseded"] = "processed" if had_effect else "superseded"
    reason = "the payment is fetched for it" if observation.fetch_needed else effect.value
    change.audit(
        "provider.event",
        {
            "event": event.event_id,
            "event_type": event.event_type,
            "inbox": event.id,
            "outcome": outcome,
            "reason": reason,
        },
        references=[
            ("inbox_event", event.id),
            ("provider_event", event.event_id),
            ("provider_payment", observation.provider_reference),
        ],
    )
    change.write()
    return Applied(outcome=outcome, reason=reason, payment_id=payment.pk)


def _call_under_way(payment: Payment) -> bool:
    return payment.operations.filter(finished_at__isnull=True).exists()


def _attempt_for(event: InboxEventView, observation: Observation) -> Attempt | None:
    """The attempt an event binds to: by charge, by the PSP's object, else by our own reference,
    which is how news that overtakes our commit of the PSP's reference still finds its payment.
    """
    of_account = Attempt.objects.filter(provider_account_id=event.account_id)
    snapshot = observation.snapshot
    if snapshot is not None and snapshot.charge_reference:
        exact = of_account.filter(charge_reference=snapshot.charge_reference).last_try()
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
