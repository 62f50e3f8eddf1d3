"""When the PSP is asked next about a payment, should no webhook come.

Mental model: a payment that owes us news is polled, at first soon, then ever more rarely; one at
rest is still asked about while something may change without a word from us.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from payments.models import Payment
from payments.states import AWAITING_PROVIDER, State

# How soon the poller first asks about a payment that waits in this state; each fruitless ask
# doubles the wait up to POLL_INTERVAL_MAX. Webhooks normally come within seconds.
POLL_FIRST_SECONDS: dict[State, int] = {
    State.CREATED: 300,
    State.PROCESSING: 15,
    State.REQUIRES_ACTION: 60,
    State.CAPTURE_PENDING: 15,
    State.CAPTURED: 60,
    State.AUTHORIZED: 3600,
    State.PARTIALLY_CAPTURED: 3600,
    State.DISPUTED: 3600,
    State.IN_REVIEW: 300,
    State.SETTLED: 300,
    State.REFUNDED: 300,
    State.REVERSED: 300,
}
POLL_INTERVAL_MAX = timedelta(hours=6)
# Waits that may never end (a payment nobody confirms, a fee nobody tells) become rare, and never
# stop: a webhook that was lost is found within a day.
POLL_INTERVAL_MAX_OF: dict[State, timedelta] = {
    State.CREATED: timedelta(hours=24),
    State.SETTLED: timedelta(hours=24),
    State.DISPUTED: timedelta(hours=24),
    State.REVERSED: timedelta(hours=24),
}
# A bank may take a debit back this long after it was settled (ACH: 60 days for what the account's
# owner did not authorise); until then the PSP is asked once a day.
DEBIT_RETURN_WINDOW = timedelta(days=61)


def schedule_poll(payment: Payment, *, now: datetime) -> None:
    """Set when the payment is asked about next; `poll_count` fruitless asks double the wait."""
    state = State(payment.state)
    if state not in AWAITING_PROVIDER and not _owes_news(payment, now):
        payment.poll_due_at = None
        return
    first = timedelta(seconds=POLL_FIRST_SECONDS.get(state, 3600))
    doubled = first * 2 ** min(payment.poll_count, 20)
    payment.poll_due_at = now + min(doubled, POLL_INTERVAL_MAX_OF.get(state, POLL_INTERVAL_MAX))


def _owes_news(payment: Payment, now: datetime) -> bool:
    """Whether a payment at rest may still change without a word from us: a fee not told, a refund
    under way, money not settled, a debit that can come back.
    """
    if not payment.amount_captured_minor:
        return False
    debit = payment.payment_method.get("kind") == "bank_debit"
    since = payment.settled_at or payment.captured_at
    returnable = debit and since is not None and now < since + DEBIT_RETURN_WINDOW
    return (
        payment.provider_fee_minor is None
        or payment.amount_refund_pending_minor > 0
        or payment.amount_settled_minor < payment.amount_captured_minor
        or (returnable and payment.state != State.REVERSED)
    )
