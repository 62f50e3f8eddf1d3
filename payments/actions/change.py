"""One change of one locked payment: everything that must become true together.

Mental model: an action locks the payment, opens a `Change`, tells it what happened (`advance`,
`audit`, `book`), and writes it once. The write goes in one order everywhere: the payment row by
compare-and-swap on its version, its transitions, the audit events, the domain events, and the
ledger last, because hot ledger rows are then held shortest. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction
from django.db.models import Model
from django_fsm import TransitionNotAllowed

from audit import log
from ledger.posting import FloorBreached, post_many
from payments import bookkeeping, rows
from payments.actions.announcements import CASES, KEPT_OPEN, announcement
from payments.actions.polling import schedule_poll
from payments.amounts import amount_words
from payments.errors import ErrorCode, FlorinError
from payments.models import Attempt, Payment, ReviewCase, Transition
from payments.representation import case_object, payment_object
from payments.states import State
from webhooks import outbox

Clock = Callable[[], datetime]
Row = TypeVar("Row", bound=Model)


# Columns a change may write: what a payment is (whose, how much, in what) never changes.
_MUTABLE = [
    "state",
    "version",
    "attempt_count",
    "amount_authorized_minor",
    "amount_capturable_minor",
    "amount_captured_minor",
    "amount_refund_pending_minor",
    "amount_refunded_minor",
    "amount_disputed_minor",
    "amount_reversed_minor",
    "amount_settled_minor",
    "dispute_fee_minor",
    "double_loss_minor",
    "description",
    "metadata",
    "platform_fee_minor",
    "provider_fee_minor",
    "payment_method",
    "next_action",
    "outcome",
    "last_error",
    "cancellation_reason",
    "review_reason",
    "authorized_at",
    "captured_at",
    "settled_at",
    "canceled_at",
    "failed_at",
    "expires_at",
    "capture_before",
    "poll_due_at",
    "poll_count",
]


class IllegalTransition(Exception):
    """A change asked for an edge that is not in payments.states.EDGES."""


class ContradictoryNews(Exception):
    """The PSP says something that our books cannot take in; a person must decide."""


class StaleVersion(Exception):
    """The payment's row changed although it was locked: nobody may write past the lock."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why something happens: an API request, a provider event, a poll, staff. `id` finds it."""

    type: str
    id: str = ""


class Change:
    """Collects what one transaction does to one locked payment, and writes it once."""

    def __init__(self, payment: Payment, *, cause: Cause, now: datetime) -> None:
        self.payment = payment
        self.cause = cause
        self.now = now
        self._before = payment.version
        self._is_new = payment._state.adding
        self._transitions: list[Transition] = []
        self._audit: list[log.Record] = []
        self._events: list[tuple[str, dict[str, Any]]] = []
        self._books: list[bookkeeping.Describe] = []
        self._kept: list[Model] = []

    def begin(self, attempt: Attempt) -> None:
        """Record a new payment's first moment; its row is inserted by `write`."""
        self.payment.expires_at = self.now + timedelta(hours=settings.FLORIN_PAYMENT_LIFETIME_HOURS)
        self._record_transition("create", from_state="")
        self._announce("payment.initiated", attempt)
        self.payment.poll_count = 0
        schedule_poll(self.payment, now=self.now)

    def advance(self, event: str, attempt: Attempt | None) -> None:
        """Take the edge `event` and remember it. Raises IllegalTransition."""
        before = self.payment.state
        try:
            getattr(self.payment, event)()
        except TransitionNotAllowed as error:
            raise IllegalTransition(f"{self.payment.pk}: {before} has no edge {event}") from error
        self.payment.version += 1
        self._record_transition(event, from_state=before)
        self._stamp()
        self.payment.poll_count = 0
        schedule_poll(self.payment, now=self.now)
        self._announce(announcement(event, before, State(self.payment.state)), attempt)
        if before == State.IN_REVIEW and self.payment.state != State.IN_REVIEW:
            self.close_cases(event, keeping=KEPT_OPEN)
        elif before != State.IN_REVIEW and self.payment.state == State.IN_REVIEW:
            self.open_case(CASES[event], self.payment.review_reason or event)

    def open_case(self, kind: str, words: str) -> bool:
        """Tell a person, once: False when a case of this kind is open already."""
        if self._has_open_case(kind):
            return False
        case = ReviewCase(payment=self.payment, kind=kind, words=words[:500], opened_at=self.now)
        self.keep(case)
        self.audit("review.opened", {"case": case.pk, "kind": str(kind), "words": case.words})
        self.announce("review.opened", case_object(case))
        return True

    def close_cases(self, words: str, *, keeping: Collection[str] = ()) -> None:
        """Close this payment's open cases with the decision in words, except the kinds to keep."""
        for case in self.payment.cases.filter(resolved_at=None).exclude(kind__in=keeping):
            self.close_case(case, words)

    def close_case(self, case: ReviewCase, words: str) -> None:
        """Close one case with the decision in words; whoever acts now has decided it."""
        actor = log.current_actor()
        case.resolved_at, case.resolution = self.now, words[:500]
        case.resolved_by = actor.id if actor else ""
        self.keep(case)
        self.audit("review.resolved", {"case": case.pk, "kind": case.kind, "words": words})
        self.announce("review.resolved", case_object(case))

    def _has_open_case(self, kind: str) -> bool:
        opened = self.kept(ReviewCase)
        if any(row.kind == kind and row.resolved_at is None for row in opened):
            return True
        held = self.payment.cases.filter(kind=kind, resolved_at=None)
        closed_here = [row.pk for row in opened if row.resolved_at is not None]
        return not self._is_new and held.exclude(pk__in=closed_here).exists()

    def audit(
        self,
        event_type: str,
        body: Mapping[str, Any],
        *,
        references: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Add an audit event about this payment."""
        self._audit.append(
            log.Record(
                event_type=event_type,
                stream_type="payment",
                stream_id=self.payment.pk,
                body=body,
                references=tuple((kind, value) for kind, value in references if value),
                occurred_at=self.now,
            )
        )

    def contradict(self, words: str) -> bool:
        """The PSP said what our books cannot take in: remember the words, audit and announce them,
        once. False when the same was said before.
        """
        reason = words[:200]
        if self.payment.review_reason == reason:
            return False
        self.payment.review_reason = reason
        self.audit("provider.contradiction", {"words": words})
        self._announce("payment.contradicted", None)
        self.open_case(ReviewCase.Kind.CONTRADICTION, words)
        return True

    def announce(self, event_type: str, payload: dict[str, Any]) -> None:
        """Tell what happened to a part of the payment, in the payment's own order of events."""
        self._events.append((event_type, payload))

    def keep(self, row: Model) -> None:
        """Have `write` insert or update a row of this payment as it then is."""
        if not any(row is kept for kept in self._kept):
            self._kept.append(row)

    def kept(self, model: type[Row]) -> list[Row]:
        """The rows of this model that are written with the change, as they will be."""
        return [row for row in self._kept if isinstance(row, model)]

    def book(self, describe: bookkeeping.Describe) -> None:
        """Post to the ledger at the end; `describe` is a function of payments.bookkeeping."""
        self._books.append(describe)

    def write(self) -> None:
        """Write everything, in the caller's transaction. Raises FlorinError(balance_insufficient)
        when a request that may be refused is not covered by the merchant's money.
        """
        assert transaction.get_connection().in_atomic_block, "Bug! a change needs a transaction"
        self._count_double_loss()
        self._write_rows()
        if self._audit:
            log.append_many(self._audit)
        for event_type, payload in self._events:
            outbox.emit(
                type=event_type,
                aggregate_type="payment",
                aggregate_id=self.payment.pk,
                owner=self.payment.merchant_id,
                livemode=self.payment.livemode,
                payload=payload,
                occurred_at=self.now,
                now=self.now,
                causation_id=self.cause.id,
            )
        if self._books:
            self._post()

    def _post(self) -> None:
        """Post what was booked, in its order and in one statement."""
        payment = self.payment
        books = list(self._books)
        settled_all = payment.amount_settled_minor == payment.amount_captured_minor
        owned = payment.provider_account.owned_by_merchant
        if owned and settled_all and payment.amount_captured_minor:
            books.append(bookkeeping.paid_directly)
        try:
            postings = bookkeeping.describe_all(payment, books, now=self.now)
            if postings:
                post_many([replace(each, metadata=self._named_cause()) for each in postings])
        except FloorBreached as breach:
            raise FlorinError(ErrorCode.balance_insufficient, param="amount_minor") from breach

    def _named_cause(self) -> dict[str, str]:
        """What a journal entry says of why it was booked."""
        return {"cause_type": self.cause.type, "cause_id": self.cause.id}

    def _count_double_loss(self) -> None:
        """Keep to the unit what was given back beyond what was captured, and tell a person."""
        payment = self.payment
        given_back = (
            payment.amount_refunded_minor
            + payment.amount_refund_pending_minor
            + payment.amount_disputed_minor
            + payment.amount_reversed_minor
        )
        before = payment.double_loss_minor
        payment.double_loss_minor = max(0, given_back - payment.amount_captured_minor)
        if payment.double_loss_minor > before:
            self.open_case(
                ReviewCase.Kind.DOUBLE_LOSS,
                f"{amount_words(given_back, payment.currency)} were refunded, disputed or returned "
                f"of {amount_words(payment.amount_captured_minor, payment.currency)} captured.",
            )

    def postpone_poll(self) -> None:
        """The poller asked and learnt nothing new: ask later, twice as late as before."""
        self.payment.poll_count += 1
        schedule_poll(self.payment, now=self.now)

    def _write_rows(self) -> None:
        """Payment by compare-and-swap, transitions and what belongs to it, in one round trip."""
        payments = rows.table(Payment)
        if self._is_new:
            statements = [payments.insert([self.payment])]
        else:
            statements = [payments.update(self.payment, _MUTABLE, version=self._before)]
        if self._transitions:
            statements.append(rows.table(Transition).insert(self._transitions))
        for row in self._kept:
            table = rows.table(type(row))
            statements.append(table.insert([row]) if row._state.adding else table.update(row))
        if rows.execute(statements)[0] != 1:
            raise StaleVersion(f"Bug! {self.payment.pk} is not at version {self._before} any more")

    def _record_transition(self, event: str, *, from_state: str) -> None:
        actor = log.current_actor()
        if actor is None:
            raise log.MissingActor(f"{self.payment.pk}: {event} without an actor")
        to_state = self.payment.state
        self._transitions.append(
            Transition(
                payment=self.payment,
                version=self.payment.version,
                event=event,
                from_state=from_state,
                to_state=to_state,
                cause_type=self.cause.type,
                cause_id=self.cause.id,
                actor_type=actor.type,
                actor_id=actor.id,
                occurred_at=self.now,
            )
        )
        self.audit(
            f"payment.{event}",
            {
                "from_state": from_state,
                "to_state": to_state,
                "version": self.payment.version,
                "amount_minor": self.payment.amount_minor,
                "currency": self.payment.currency,
                "cause": {"type": self.cause.type, "id": self.cause.id},
            },
            references=[("merchant_reference", self.payment.merchant_reference)],
        )

    def _announce(self, event_type: str, attempt: Attempt | None) -> None:
        self._events.append((event_type, payment_object(self.payment, attempt)))

    def _stamp(self) -> None:
        """Remember when a payment first arrived in the states people ask about."""
        payment, state = self.payment, State(self.payment.state)
        if state == State.AUTHORIZED and payment.authorized_at is None:
            payment.authorized_at = self.now
        if payment.amount_captured_minor and payment.captured_at is None:
            payment.captured_at = self.now
        settled_all = payment.amount_settled_minor == payment.amount_captured_minor
        if payment.amount_captured_minor and settled_all and payment.settled_at is None:
            payment.settled_at = self.now
        if state == State.CANCELED:
            payment.canceled_at = self.now
        elif state == State.FAILED:
            payment.failed_at = self.now
