"""Proof that nothing is lost, doubled or unexplained: every check whose right answer is "none".

Mental model: an auditor's reading of all four apps, which changes nothing and trusts nothing that
a constraint or a trigger promises. A check examines objects and yields what offends. Payments are
walked in ranges of their ids, each range read from one snapshot, so that a running system causes
no false alarm and memory stays the same for a hundred payments and for a hundred million.

What waits is explained while somebody will still act on it: an operation with a future try, a
delivery not long overdue. What gave up is explained by its recorded reason.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

import audit.verify
import ledger.integrity
import ledger.sources
import webhooks.integrity
from payments import bookkeeping
from payments.actions.change import ANNOUNCEMENTS
from payments.actions.resume_payment import ASKING_AFTER_EXPIRY
from payments.idempotency import COMPLETIONS_MAX
from payments.models import IdempotencyKey, Payment, ProviderOperation
from payments.states import AWAITING_PROVIDER, EDGES, State

# Payments per range: some tens of megabytes at most, and a sign of life every second or two.
RANGE_SIZE = 5_000
# Of one check's offences this many are told in full; all of them are counted.
OFFENCES_TOLD = 200
# Open work that nobody has taken up for this long after it was due is not explained.
OVERDUE_AFTER = timedelta(minutes=10)

# States of a payment that has never had money: captured amounts and entries would be wrong.
WITHOUT_MONEY = frozenset(
    {
        State.CREATED,
        State.REQUIRES_ACTION,
        State.PROCESSING,
        State.AUTHORIZED,
        State.CAPTURE_PENDING,
        State.CANCELED,
        State.FAILED,
    }
)

Progress = Callable[[str, int], None]  # (check's name, objects examined so far)


@dataclass(frozen=True, kw_only=True)
class Offence:
    """One thing that is not as it should be: which rule, which object, in words."""

    kind: str
    object: str
    detail: str


@dataclass(kw_only=True)
class Finding:
    """What one check found. `examined` counts objects where the check walks them, else 0."""

    check: str
    proves: str
    examined: int = 0
    offence_count: int = 0
    offences: list[Offence] = field(default_factory=list)
    duration_seconds: float = 0.0

    @property
    def holds(self) -> bool:
        return self.offence_count == 0


@dataclass(frozen=True, kw_only=True)
class Report:
    """Every finding of one run."""

    findings: list[Finding]

    @property
    def holds(self) -> bool:
        return all(finding.holds for finding in self.findings)


# A check yields an offence, or None for "one more object is in order" (for the count).
Check = Callable[[datetime], Iterable[Offence | None]]


def verify(*, now: datetime, progress: Progress = lambda check, examined: None) -> Report:
    """Run every check and say what each found. Reads only; must not be called in a transaction."""
    return Report(
        findings=[
            _run(name, proves, check, now=now, progress=progress)
            for name, (proves, check) in CHECKS.items()
        ]
    )


def _run(name: str, proves: str, check: Check, *, now: datetime, progress: Progress) -> Finding:
    finding = Finding(check=name, proves=proves)
    began = time.monotonic()
    progress(name, 0)
    for offence in check(now):
        if offence is None:
            finding.examined += 1
            if finding.examined % 1000 == 0:
                progress(name, finding.examined)
            continue
        finding.offence_count += 1
        if len(finding.offences) < OFFENCES_TOLD:
            finding.offences.append(offence)
    finding.duration_seconds = time.monotonic() - began
    return finding


def check_ledger(now: datetime) -> Iterator[Offence]:
    """Zero sums per entry and currency, counters and headers against lines, guards in place."""
    for violation in ledger.integrity.prove():
        yield Offence(kind=violation.kind, object=violation.object, detail=violation.detail)


def check_audit(now: datetime) -> Iterator[Offence]:
    """Every event's leaf is the hash of its bytes, and the log's own guards are in place."""
    for violation in audit.verify.verify(now=now):
        yield Offence(kind=violation.kind, object=violation.object, detail=violation.detail)


def check_books(now: datetime) -> Iterator[Offence | None]:
    """Each payment's captured, settled and fee amounts are what its ledger entries say, and no
    entry speaks of a payment without money or of none at all.
    """
    for after, until in _ranges():
        with _snapshot():
            booked = _booked(after, until)
            for payment in _payments(after, until):
                yield from _judge_books(payment, booked=booked.pop(payment.pk, {}), now=now)
        for payment_id, sums in booked.items():
            yield Offence(
                kind="books_without_payment",
                object=payment_id,
                detail=f"the ledger has {_words(sums)}, there is no such payment",
            )


# (kind of entry, account, its owner, currency, live) -> (debits, credits) in minor units.
_Sums = dict[tuple[str, str, str, str, bool], tuple[int, int]]


def _judge_books(payment: Payment, *, booked: _Sums, now: datetime) -> Iterator[Offence | None]:
    said = _expected(payment, now=now)
    captured = payment.amount_captured_minor
    if said != booked:
        yield Offence(
            kind="books_differ",
            object=payment.pk,
            detail=f"the payment says {_words(_only(said, booked))}; its ledger entries say "
            f"{_words(_only(booked, said))}",
        )
    elif captured and State(payment.state) in WITHOUT_MONEY:
        yield Offence(
            kind="money_in_state_without",
            object=payment.pk,
            detail=f"it is {payment.state}, and {captured} {payment.currency} are booked",
        )
    elif payment.state == State.SETTLED and payment.amount_settled_minor != captured:
        yield Offence(
            kind="settled_in_part",
            object=payment.pk,
            detail=f"it is settled, with {payment.amount_settled_minor} of {captured}",
        )
    yield None


def _expected(payment: Payment, *, now: datetime) -> _Sums:
    """Every line that the payment's amounts ask for, as payments.bookkeeping describes them."""
    happened = {
        bookkeeping.captured: payment.amount_captured_minor > 0,
        bookkeeping.provider_fee: payment.provider_fee_minor is not None,
        bookkeeping.settled: payment.amount_settled_minor > 0,
    }
    sums: _Sums = {}
    for describe in (function for function, it_did in happened.items() if it_did):
        posting = describe(payment, now=now)
        if posting is None:
            continue
        for line in posting.lines:
            account = line.account
            name = (posting.kind, account.code, account.owner, account.currency, account.livemode)
            debit, credit = sums.get(name, (0, 0))
            sums[name] = (debit + line.debit_minor, credit + line.credit_minor)
    return sums


def _booked(after: str, until: str | None) -> dict[str, _Sums]:
    """The same by payment id, from the ledger alone: whatever names the payment as its source."""
    booked: dict[str, _Sums] = defaultdict(dict)
    for total in ledger.sources.totals_by_source("payment", after=after, until=until):
        name = (
            total.kind,
            total.account_code,
            total.account_owner,
            total.currency,
            total.livemode,
        )
        booked[total.source_id][name] = (total.debit_minor, total.credit_minor)
    return dict(booked)


def _only(these: _Sums, others: _Sums) -> _Sums:
    return {name: sides for name, sides in these.items() if others.get(name) != sides}


def _words(sums: _Sums) -> str:
    listed = [
        f"{kind}: {code} {owner} debit {debit} credit {credit} {currency}"
        for (kind, code, owner, currency, _), (debit, credit) in sorted(sums.items())
    ]
    return "; ".join(listed) or "nothing"


def check_waiting(now: datetime) -> Iterator[Offence | None]:
    """Each payment that owes us news is asked about, and what contradicted our books is settled."""
    being_driven = ProviderOperation.objects.filter(
        payment=OuterRef("pk"), finished_at__isnull=True
    )
    overdue = now - OVERDUE_AFTER
    forgotten = Payment.objects.filter(
        ~Exists(being_driven), state__in=[state.value for state in AWAITING_PROVIDER]
    ).filter(Q(poll_due_at__isnull=True) | Q(poll_due_at__lt=overdue))
    for payment in forgotten.order_by("pk").iterator():
        yield Offence(
            kind="payment_forgotten",
            object=payment.pk,
            detail=f"it is {payment.state} and nobody asks the provider "
            f"(due {payment.poll_due_at or 'never'})",
        )
    contradicted = Payment.objects.exclude(review_reason="").exclude(state=State.IN_REVIEW)
    for payment in contradicted.order_by("pk").iterator():
        yield Offence(
            kind="payment_contradicted",
            object=payment.pk,
            detail=f"it is {payment.state}: {payment.review_reason}",
        )


def check_transitions(now: datetime) -> Iterator[Offence | None]:
    """Each payment's versions are 1, 2, 3 ..., each edge is legal and starts where the last one
    ended, and the last one leads to the state held.
    """
    legal = {(edge.event, edge.source.value, edge.target.value) for edge in EDGES}
    legal.add(("create", "", State.CREATED.value))
    for after, until in _ranges():
        with _snapshot():
            moves = _moves(after, until)
            rows = _payments(after, until).values_list("id", "state", "version")
            for payment_id, state, version in rows:
                yield from _judge_moves(payment_id, state, version, moves[payment_id], legal)


def _judge_moves(
    payment_id: str,
    state: str,
    version: int,
    moves: list[tuple[int, str, str, str]],
    legal: set[tuple[str, str, str]],
) -> Iterator[Offence | None]:
    def offence(kind: str, detail: str) -> Offence:
        return Offence(kind=kind, object=payment_id, detail=detail)

    numbers = [number for number, *_ in moves]
    if numbers != list(range(1, version + 1)):
        yield offence("transitions_gap", f"version {version}, transitions {numbers}")
    held = ""
    for number, event, source, target in moves:
        if (event, source, target) not in legal:
            yield offence("transition_illegal", f"v{number} {event}: {source} → {target}")
        if source != held:
            yield offence("transition_broken", f"v{number} starts at {source!r}, not at {held!r}")
        held = target
    if held != state:
        yield offence("state_without_transition", f"it is {state}, its transitions lead to {held}")
    yield None


def _moves(after: str, until: str | None) -> dict[str, list[tuple[int, str, str, str]]]:
    """By payment id: (version, event, from, to), by version."""
    moves = defaultdict(list)
    upper = "" if until is None else "AND payment_id <= %s"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT payment_id, version, event, from_state, to_state FROM payments_transition
             WHERE payment_id > %s {upper} ORDER BY payment_id, version
            """,  # noqa: S608
            [after, *([] if until is None else [until])],
        )
        for payment_id, *move in cursor.fetchall():
            moves[payment_id].append(tuple(move))
    return moves


def check_events(now: datetime) -> Iterator[Offence | None]:
    """Each transition of each payment was announced once, and no stream has a gap."""
    for violation in webhooks.integrity.stream_violations():
        yield Offence(kind=violation.kind, object=violation.object, detail=violation.detail)
    for after, until in _ranges():
        with _snapshot():
            announced: dict[str, list[tuple[int | None, str]]] = defaultdict(list)
            for told in webhooks.integrity.announcements(
                aggregate_type="payment", after=after, until=until
            ):
                announced[told.aggregate_id].append((told.version, told.type))
            moves = _moves(after, until)
        for payment_id, made in moves.items():
            names = announced[payment_id]
            for version, event, _, target in made:
                name = "payment.initiated" if event == "create" else ANNOUNCEMENTS[State(target)]
                if names.count((version, name)) != 1:
                    yield Offence(
                        kind="transition_not_announced",
                        object=payment_id,
                        detail=f"v{version} {event}: {name} is there "
                        f"{names.count((version, name))} times",
                    )
            yield None


def check_operations(now: datetime) -> Iterator[Offence | None]:
    """Each open provider call has somebody who will ask about it, and none is open for ever."""
    still_open = ProviderOperation.objects.filter(finished_at__isnull=True).order_by("pk")
    for operation in still_open.iterator():
        words = f"{operation.kind} of {operation.payment_id}, try {operation.try_count}"
        if operation.next_try_at < now - OVERDUE_AFTER:
            yield Offence(
                kind="operation_abandoned",
                object=operation.pk,
                detail=f"{words}: nobody has asked since {operation.next_try_at}",
            )
        elif now > operation.key_expires_at + ASKING_AFTER_EXPIRY + timedelta(days=1):
            yield Offence(
                kind="operation_never_ends",
                object=operation.pk,
                detail=f"{words}: open since {operation.created_at}, nobody decided",
            )
        yield None


def check_requests(now: datetime) -> Iterator[Offence | None]:
    """Each claimed request was answered, or will be taken up again."""
    unfinished = IdempotencyKey.objects.exclude(
        recovery_point=IdempotencyKey.RecoveryPoint.FINISHED
    ).order_by("pk")
    for row in unfinished.iterator():
        waits_for_operation = row.recovery_point == IdempotencyKey.RecoveryPoint.SUBMITTING
        operation = row.provider_operation
        if waits_for_operation and (operation is None or operation.finished_at is not None):
            yield Offence(
                kind="request_without_answer",
                object=str(row.pk),
                detail=f"{row.operation}: its operation has ended, its answer is missing",
            )
        elif not waits_for_operation and row.completion_count >= COMPLETIONS_MAX:
            yield Offence(
                kind="request_given_up",
                object=str(row.pk),
                detail=f"{row.operation}: {row.completion_error or 'no process survived it'}",
            )
        elif not waits_for_operation and _overdue(row.completion_due_at, now):
            yield Offence(
                kind="request_abandoned",
                object=str(row.pk),
                detail=f"{row.operation}: due since {row.completion_due_at}",
            )
        yield None


def _overdue(due_at: datetime | None, now: datetime) -> bool:
    return due_at is None or due_at < now - OVERDUE_AFTER


def check_outbox(now: datetime) -> Iterator[Offence]:
    """Each delivery is done, will be tried, is held behind one that is, or gave up with words."""
    for violation in webhooks.integrity.outbox_violations(now=now):
        yield Offence(kind=violation.kind, object=violation.object, detail=violation.detail)


def check_inbox(now: datetime) -> Iterator[Offence]:
    """As for the outbox; and no applied provider event could be applied again."""
    for violation in webhooks.integrity.inbox_violations(now=now):
        yield Offence(kind=violation.kind, object=violation.object, detail=violation.detail)


CHECKS: dict[str, tuple[str, Check]] = {
    "ledger": ("entries sum to zero; counters and headers agree with lines", check_ledger),
    "books": ("each payment's amounts are what the ledger says of it", check_books),
    "transitions": ("each payment went legal ways without a gap to its state", check_transitions),
    "events": ("each transition was announced once; streams have no gap", check_events),
    "operations": ("each open provider call will be asked about", check_operations),
    "waiting": ("each payment that owes us news is asked about", check_waiting),
    "requests": ("each claimed request was answered or will be", check_requests),
    "outbox": ("each delivery is done, due, held or given up with a reason", check_outbox),
    "inbox": ("each provider event had its effect once, or is explained", check_inbox),
    "audit": ("each audit event is the bytes that were hashed", check_audit),
}


def _ranges() -> Iterator[tuple[str, str | None]]:
    """(after, until) over all payment ids; the last range has no end, so that what the other
    tables say about ids beyond the last payment is looked at too.
    """
    after = ""
    while True:
        ids = Payment.objects.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)
        until = ids[RANGE_SIZE - 1 : RANGE_SIZE].first()
        yield after, until
        if until is None:
            return
        after = until


def _payments(after: str, until: str | None) -> QuerySet[Payment]:
    within = Payment.objects.filter(pk__gt=after)
    return within if until is None else within.filter(pk__lte=until)


@contextmanager
def _snapshot() -> Iterator[None]:
    """One state of the whole database for several statements, however long they take."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SET LOCAL statement_timeout = 0")
        yield
