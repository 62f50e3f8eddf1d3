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
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

import audit.verify
import ledger.integrity
import webhooks.integrity
from payments.verification.books import check_books
from payments.verification.findings import Finding, Offence, Progress, Report
from payments.verification.moves import check_events, check_transitions
from payments.verification.work import check_operations, check_requests, check_waiting

__all__ = ["CHECKS", "Finding", "Offence", "Report", "verify"]

# Of one check's offences this many are told in full; all of them are counted.
OFFENCES_TOLD = 200

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


def check_outbox(now: datetime) -> Iterator[Offence]:
    """Each delivery is done, will be tried, is held behind one that is, or gave up with words."""
    for violation in webhooks.integrity.outbox_violations(now=now):
        yield Offence(kind=violation.kind, object=violation.object, detail=violation.detail)


def check_inbox(now: datetime) -> Iterator[Offence]:
    """As for the outbox; no applied provider event could be applied again; months are ahead."""
    for violation in webhooks.integrity.inbox_partition_violations(now=now):
        yield Offence(kind=violation.kind, object=violation.object, detail=violation.detail)
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
