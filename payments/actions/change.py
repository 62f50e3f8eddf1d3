"""One change of one locked payment: everything that must become true together.

Mental model: an action locks the payment, opens a `Change`, tells it what happened (`advance`,
`audit`, `book`), and writes it once. The write goes in one order everywhere: the payment row by
compare-and-swap on its version, its transitions, the audit events, the domain events, and the
ledger last, because hot ledger rows are then held shortest. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from django.db import transaction
from django_fsm import TransitionNotAllowed

from audit import log
from ledger.posting import Posting, post_many
from payments import rows
from payments.models import Attempt, Payment, ProviderOperation, Transition
from payments.representation import payment_object
from payments.states import AWAITING_PROVIDER, State
from webhooks import outbox

Clock = Callable[[], datetime]


class Bookkeeping(Protocol):
    """Describes the journal entry of one money event, or None when nothing moves."""

    def __call__(self, payment: Payment, *, now: datetime) -> Posting | None: ...


# The domain event that announces each state a payment arrives in (docs/events.md).
ANNOUNCEMENTS: dict[State, str] = {
    State.CREATED: "payment.attempt_failed",
    State.PROCESSING: "payment.provider_submitted",
    State.REQUIRES_ACTION: "payment.requires_action",
    State.AUTHORIZED: "payment.authorized",
    State.CAPTURE_PENDING: "payment.capture_requested",
    State.CAPTURED: "payment.confirmed",
    State.SETTLED: "payment.settled",
    State.IN_REVIEW: "payment.in_review",
    State.CANCELED: "payment.canceled",
    State.FAILED: "payment.failed",
}

# How soon the poller first asks about a payment that waits in this state; each fruitless ask
# doubles the wait up to POLL_INTERVAL_MAX. Webhooks normally come within seconds.
POLL_FIRST_SECONDS: dict[State, int] = {
    State.CREATED: 300,
    State.PROCESSING: 15,
    State.REQUIRES_ACTION: 60,
    State.CAPTURE_PENDING: 15,
    State.CAPTURED: 60,
    State.AUTHORIZED: 3600,
    State.SETTLED: 300,
}
POLL_INTERVAL_MAX = timedelta(hours=6)
# Waits that may never end (a payment nobody confirms, a fee nobody tells) become rare, and never
# stop: a webhook that was lost is found within a day.
POLL_INTERVAL_MAX_OF: dict[State, timedelta] = {
    State.CREATED: timedelta(hours=24),
    State.SETTLED: timedelta(hours=24),
}

# Columns a change may write: what a payment is (whose, how much, in what) never changes.
_MUTABLE = [
    "state",
    "version",
    "attempt_count",
    "amount_authorized_minor",
    "amount_capturable_minor",
    "amount_captured_minor",
    "amount_settled_minor",
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
    "poll_due_at",
    "poll_count",
]


class IllegalTransition(Exception):
    """A change asked for an edge that is not in payments.states.EDGES."""


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
        self._books: list[Bookkeeping] = []
        self._kept: list[Attempt | ProviderOperation] = []

    def begin(self, attempt: Attempt) -> None:
        """Record a new payment's first moment; its row is inserted by `write`."""
        self._record_transition("create", from_state="")
        self._announce("payment.initiated", attempt)
        self._schedule_poll()

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
        self._schedule_poll()
        self._announce(ANNOUNCEMENTS[State(self.payment.state)], attempt)

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
        return True

    def keep(self, row: Attempt | ProviderOperation) -> None:
        """Have `write` insert or update a row of this payment as it then is."""
        if not any(row is kept for kept in self._kept):
            self._kept.append(row)

    def book(self, bookkeeping: Bookkeeping) -> None:
        """Post to the ledger at the end; `bookkeeping` is a function of payments.bookkeeping."""
        self._books.append(bookkeeping)

    def write(self) -> None:
        """Write everything, in the caller's transaction."""
        assert transaction.get_connection().in_atomic_block, "Bug! a change needs a transaction"
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
        described = [describe(self.payment, now=self.now) for describe in self._books]
        postings = [posting for posting in described if posting is not None]
        if postings:
            post_many(postings)

    def postpone_poll(self) -> None:
        """The poller asked and learnt nothing new: ask later, twice as late as before."""
        self.payment.poll_count += 1
        self._schedule_poll(keep_count=True)

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
        state = State(self.payment.state)
        if state == State.AUTHORIZED and self.payment.authorized_at is None:
            self.payment.authorized_at = self.now
        elif state == State.CAPTURED and self.payment.captured_at is None:
            self.payment.captured_at = self.now
        elif state == State.SETTLED and self.payment.settled_at is None:
            self.payment.settled_at = self.now
        elif state == State.CANCELED:
            self.payment.canceled_at = self.now
        elif state == State.FAILED:
            self.payment.failed_at = self.now

    def _schedule_poll(self, *, keep_count: bool = False) -> None:
        if not keep_count:
            self.payment.poll_count = 0
        state = State(self.payment.state)
        fee_missing = state == State.SETTLED and self.payment.provider_fee_minor is None
        if state not in AWAITING_PROVIDER and not fee_missing:
            self.payment.poll_due_at = None
            return
        doubled = timedelta(
            seconds=POLL_FIRST_SECONDS[state] * 2 ** min(self.payment.poll_count, 20)
        )
        self.payment.poll_due_at = self.now + min(
            doubled, POLL_INTERVAL_MAX_OF.get(state, POLL_INTERVAL_MAX)
        )
