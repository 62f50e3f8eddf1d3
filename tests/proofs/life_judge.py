"""What must be true of a payment after every step, and once everything has come to rest.

Mental model: the witness is the provider's own record of movements. PostgreSQL checks amounts,
rows and books at each commit, so a breach there shows as an exception of the step; what it cannot
know is asked here: that no operation of ours moved money twice, that somebody will ask about what
is open, and at the end that our sums are the provider's.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection

from payments.models import Capture, Payment, ProviderOperation, Refund
from payments.states import AWAITING_PROVIDER, State
from webhooks.models import InboxEvent

if TYPE_CHECKING:
    from tests.proofs.life_frame import Frame

# A case of these kinds says that a person has to settle outside what our books cannot take in.
EXPLAINING = frozenset(
    {"contradiction", "integrity_mismatch", "status_unknown", "late_money", "outcome_unknown"}
)
LONGEST_WAIT = timedelta(hours=25)


class Finding(AssertionError):
    """Something is not as it must be; tells the steps that led there."""


def judge_step(world: Frame, payment_id: str) -> None:
    """Raise Finding when the payment is not sound."""
    payment = Payment.objects.filter(pk=payment_id).first()
    if payment is None:
        return
    movements = world.movements(payment_id)
    wrong = [
        *_moved_twice(world, payment, movements),
        *_forgotten(world, payment),
        *_failed_news(world),
    ]
    if wrong:
        told = [(one["kind"], one["amount_minor"], one["part_reference"][-6:]) for one in movements]
        raise Finding(
            f"{payment_id} is {payment.state}: {'; '.join(wrong)}\nmovements: {told}\n"
            + world.story(payment_id)
        )


def _moved_twice(world: Frame, payment: Payment, movements: list[dict[str, Any]]) -> list[str]:
    """At most one movement of money per capture, refund, raise and try of ours."""
    wrong: list[str] = []
    done = world.dashboard.get(payment.pk, [])
    if len({one["payment"] for one in movements}) > 1:
        wrong.append("money moved in two payments of the provider")
    asked = {
        "capture": dict(Capture.objects.filter(payment=payment).values_list("pk", "amount_minor")),
        "refund": dict(Refund.objects.filter(payment=payment).values_list("pk", "amount_minor")),
    }
    allowed = {
        "capture": 1 + done.count("capture") + done.count("succeed_late"),
        "refund": done.count("refund"),
    }
    seen: Counter[tuple[str, str]] = Counter()
    for one in movements:
        kind, reference = one["kind"], one["part_reference"]
        if kind in asked:
            seen[kind, reference] += 1
            if reference and asked[kind].get(reference) != one["amount_minor"]:
                wrong.append(f"{kind} {reference} moved {one['amount_minor']}")
    for (kind, reference), count in seen.items():
        if count > (1 if reference else allowed[kind]):
            wrong.append(f"{kind} {reference or 'without a name'} moved money {count} times")
    holds = sum(one["kind"] == "hold" for one in movements)
    raises = ProviderOperation.objects.filter(payment=payment, kind="increment").count()
    if holds > 1 + raises + done.count("adjust") + done.count("succeed_late"):
        wrong.append(f"money was held {holds} times")
    return wrong


def _forgotten(world: Frame, payment: Payment) -> list[str]:
    now = world.shop.now()
    unfinished = payment.operations.filter(finished_at=None)
    wrong = [
        f"{operation.kind} is tried again only at {operation.next_try_at}"
        for operation in unfinished
        if operation.next_try_at is None or operation.next_try_at > now + LONGEST_WAIT
    ]
    waits = State(payment.state) in AWAITING_PROVIDER and not unfinished
    told = payment.cases.filter(resolved_at=None).exists()
    if waits and payment.poll_due_at is None and not told:
        wrong.append("nobody will ask the provider about it")
    return wrong


def _failed_news(world: Frame) -> list[str]:
    """News that could not be applied is a contradiction for a person, or a bug."""
    failed = InboxEvent.objects.filter(
        account_id=world.shop.account.pk, status__in=["failed", "dead"]
    ).exclude(reason__contains="ContradictoryNews")
    return [f"webhook {row.event_type} failed: {row.reason}" for row in failed]


def judge_end(world: Frame, payment_id: str) -> bool:
    """Raise Finding unless our sums are the provider's; True when a case explains that they are
    not.
    """
    payment = Payment.objects.get(pk=payment_id)
    moved: Counter[str] = Counter()
    for one in world.movements(payment_id):
        moved[one["kind"]] += one["amount_minor"]
    theirs = {
        "captured": moved["capture"] - moved["void"],
        "refunded": moved["refund"] - moved["refund_failure"],
        "taken back": moved["dispute"]
        - moved["dispute_reversal"]
        + moved["return"]
        - moved["return_reversal"]
        + moved["capture_failure"],
        "dispute fees": moved["dispute_fee"],
        "refund pending": _pending_there(world, payment_id),
    }
    ours = {
        "captured": payment.amount_captured_minor,
        "refunded": payment.amount_refunded_minor,
        "taken back": payment.amount_disputed_minor + payment.amount_reversed_minor,
        "dispute fees": payment.dispute_fee_minor,
        "refund pending": payment.amount_refund_pending_minor,
    }
    cases = set(payment.cases.values_list("kind", flat=True))
    wrong = []
    # A capture that came and went before we heard of it leaves no trace in our books.
    unheard = theirs["captured"] - ours["captured"]
    if unheard > 0:
        theirs["captured"] -= unheard
        theirs["taken back"] -= unheard
    if ours != theirs:
        wrong.append(f"ours {ours}, the provider's {theirs}")
    wrong += _not_at_rest(payment)
    if booked_clearing(payment) != _expected_clearing(payment):
        wrong.append(f"clearing is {booked_clearing(payment)}, not {_expected_clearing(payment)}")
    if not wrong:
        return False
    if cases & EXPLAINING:
        return True
    raise Finding(
        f"{payment_id} ended {payment.state} with cases {sorted(cases)}: {'; '.join(wrong)}\n"
        + world.story(payment_id)
    )


def _pending_there(world: Frame, payment_id: str) -> int:
    found = world.psp("GET", f"/v1/payments?reference={payment_id}")["data"]
    refunds = [refund for document in found for refund in document["refunds"]]
    waiting = ("pending", "requires_action")
    return sum(one["amount_minor"] for one in refunds if one["status"] in waiting)


def _not_at_rest(payment: Payment) -> list[str]:
    wrong = []
    if payment.operations.filter(finished_at=None).exists():
        wrong.append("an operation is still open")
    if payment.state in (State.PROCESSING, State.CAPTURE_PENDING, State.IN_REVIEW):
        wrong.append(f"it is still {payment.state}")
    return wrong


def _expected_clearing(payment: Payment) -> int:
    return (
        payment.amount_captured_minor
        - payment.amount_refunded_minor
        - payment.amount_disputed_minor
        - payment.amount_reversed_minor
        - payment.dispute_fee_minor
        - (payment.provider_fee_minor or 0)
    )


def booked_clearing(payment: Payment) -> int:
    """What the ledger says the provider owes us for this payment."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce(sum(l.debit_minor - l.credit_minor), 0)::bigint
              FROM ledger_journal_entry e
              JOIN ledger_line l ON l.entry_id = e.id
              JOIN ledger_account a ON a.id = l.account_id
             WHERE e.source_type = 'payment' AND e.source_id = %s AND a.code = 'psp:clearing'
            """,
            [payment.pk],
        )
        return int(cursor.fetchone()[0])
