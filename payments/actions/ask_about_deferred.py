"""News whose payment did not turn up: ask the PSP what its object is, and decide by that.

Mental model: `apply_provider_event` defers news that names a payment which cannot be found. Mostly
the row that names the PSP's object is committed a moment later. When it is not, the inbox has a
question (webhooks.questions), and this asks the PSP for the object, outside any transaction:

    the payment has turned up meanwhile      the news is applied as always
    the PSP does not have the object         ignored
    it carries no reference of ours          ignored
    it belongs to a payment of ours that     that payment is asked about through its own account
      goes through another account
    it is a second object of our payment     without money superseded, with money a person's case
    it names a payment we do not have        waits on; after three days a person has to look: an id
                                             of ours with money behind it is never ignored
    no answer                                waits on, asked again later
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from django.conf import settings
from django.db import transaction

from payments.access import locked_payment
from payments.actions.account_rounds import Piece, work_by_account
from payments.actions.apply_provider_event import apply_provider_event, audit_news
from payments.actions.call_provider import lease_until
from payments.actions.change import Cause, Change, Clock
from payments.actions.provider_accounts import credentials_for
from payments.actions.through_breaker import through_breaker
from payments.models import Payment, ProviderAccount
from payments.providers import provider_for
from payments.providers.base import ObservedStatus, PaymentSnapshot, Result
from webhooks import questions
from webhooks.inbox import Applied, InboxEventView
from webhooks.questions import Question

# How the ids of payments begin.
_OURS = "pay_"
JOB = "ask_about_deferred_events"
# A second object of a payment that is in one of these has no money of ours.
WITHOUT_MONEY = frozenset(
    {
        ObservedStatus.OPEN,
        ObservedStatus.REQUIRES_ACTION,
        ObservedStatus.PROCESSING,
        ObservedStatus.CANCELED,
        ObservedStatus.DECLINED,
        ObservedStatus.FAILED,
    }
)


def ask_due(*, clock: Clock) -> int:
    """One round over every question that is due. Returns how many were asked."""
    return work_by_account(
        due=questions.due_accounts(now=clock()),
        pieces=partial(questions_of, clock=clock),
        job=JOB,
    )


def questions_of(account_id: str, *, clock: Clock) -> Iterator[Piece]:
    """The questions that an account has due now, each taken just before it is handed out."""
    while (question := _take(account_id, now=clock())) is not None:
        yield partial(ask_and_apply, question, clock=clock)


def ask_and_apply(question: Question, *, clock: Clock) -> str:
    """Ask the PSP for the object that the event is about, and apply the event in that light;
    returns the event's status. The caller has taken the question.
    """
    in_transaction = transaction.get_connection().in_atomic_block
    assert not in_transaction, "Bug! a provider call inside a database transaction"
    event = question.event
    account = ProviderAccount.objects.get(pk=event.account_id)
    reference = provider_for(event.provider).observe_webhook(event.raw).provider_reference
    result = through_breaker(
        account,
        "fetch",
        lambda: provider_for(account.provider).fetch_payment(
            credentials=credentials_for(account),
            timeout_seconds=settings.FLORIN_PROVIDER_TIMEOUT_SECONDS,
            provider_reference=reference,
        ),
    )
    return questions.answer(question, apply=partial(_apply, result=result), now=clock())


def _take(account_id: str, *, now: datetime) -> Question | None:
    return questions.take(account_id, lease_until=lease_until(now), now=now)


def _apply(event: InboxEventView, *, now: datetime, result: Result) -> Applied:
    """What `apply_provider_event` says, unless it would wait on: then what the PSP says."""
    applied = apply_provider_event(event, now=now)
    if applied.outcome != "deferred":
        return applied
    snapshot = result.snapshot
    if result.not_found:
        return Applied(outcome="ignored", reason="the provider does not have the object")
    if snapshot is None:
        words = result.error.message if result.error else result.outcome
        return Applied(outcome="deferred", reason=f"the provider could not be asked: {words}"[:500])
    if not snapshot.our_reference.startswith(_OURS):
        return Applied(outcome="ignored", reason="the provider's object is not one of ours")
    payment = _named_payment(snapshot.our_reference, event.account_id)
    if payment is None:
        words = f"the provider's object names {snapshot.our_reference}, which we do not have"
        return Applied(outcome="deferred", reason=words)
    if payment.provider_account_id != event.account_id:
        return _ask_through_its_own_account(event, payment, snapshot, now=now)
    return _judge_second_object(event, payment, snapshot, now=now)


def _named_payment(reference: str, account_id: str) -> Payment | None:
    """The payment that an object of this account may speak of: whoever owns an account can write
    any id into its objects, so one of another merchant or mode is like one that is not there.
    """
    account = ProviderAccount.objects.get(pk=account_id)
    payments = Payment.objects.filter(pk=reference, livemode=account.livemode)
    if account.merchant_id:
        payments = payments.filter(merchant=account.merchant_id)
    return payments.first()


def _ask_through_its_own_account(
    event: InboxEventView, payment: Payment, snapshot: PaymentSnapshot, *, now: datetime
) -> Applied:
    """Two accounts with the same credentials: the payment is polled through the one it went
    through, so nothing that this account says changes it.
    """
    change = _change(event, payment.pk, now=now)
    change.payment.poll_due_at = now
    words = "the payment goes through another account, where it is fetched"
    applied = Applied(outcome="processed", reason=words, payment_id=payment.pk)
    return _record(change, event, applied, snapshot)


def _judge_second_object(
    event: InboxEventView, payment: Payment, snapshot: PaymentSnapshot, *, now: datetime
) -> Applied:
    change = _change(event, payment.pk, now=now)
    if snapshot.status in WITHOUT_MONEY:
        words = f"{snapshot.provider_reference} is another object of the payment, without money"
        applied = Applied(outcome="superseded", reason=words, payment_id=payment.pk)
    else:
        words = (
            f"The provider has a second object of this payment, {snapshot.provider_reference}, "
            f"and says that it is {snapshot.raw_status}."
        )
        change.contradict(words)
        applied = Applied(outcome="processed", reason=words[:200], payment_id=payment.pk)
    return _record(change, event, applied, snapshot)


def _change(event: InboxEventView, payment_id: str, *, now: datetime) -> Change:
    cause = Cause(type="provider_event", id=event.id)
    return Change(locked_payment(payment_id), cause=cause, now=now)


def _record(
    change: Change, event: InboxEventView, applied: Applied, snapshot: PaymentSnapshot
) -> Applied:
    audit_news(change, event, applied, snapshot.provider_reference)
    change.write()
    return applied
