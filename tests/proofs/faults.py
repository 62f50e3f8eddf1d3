"""Faults in the middle of payments, and what must be true after all of them.

Mental model: a merchant's load runs while faults are made in turn: the worker dies, the web
processes die, Redis forgets everything, PostgreSQL is restarted or crashes. A fault is made when
it will hit payments in the phases it has hit least, and each hit is counted by payment. When all
payments have ended, the judge is the provider's own record of money, not ours.
"""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis
from rich.console import Console
from rich.table import Table

from tests.proofs.load import PHASES, MerchantLoad
from tests.proofs.stand import Stand, running_stand

# Long enough for requests to be met in flight, short enough for hundreds of payments.
KNOBS = {
    "latency_seconds": 0.25,
    "bank_result_after_seconds": 1.0,
    "settle_after_seconds": 1.0,
    "webhook_copies": 1,
    "webhook_reorder": 20,
    "drop_before_commit": 5,
    "drop_after_commit": 5,
    "fail_after_commit": 5,
}
# After a fault the system is left alone this long, so that it also gets on.
_BREATH_SECONDS = 1.5
# A fault is made after this long at the latest, even if it will not hit what it still lacks.
_PATIENCE_SECONDS = 6.0
_DRAIN_SECONDS = 60.0


@dataclass
class Outcome:
    """What a run did and found. `violations` is empty when nothing was lost or doubled."""

    seed: int
    payments: int
    duration_seconds: float = 0.0
    faults: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    hits: dict[str, dict[str, set[int]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    answers: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def lacking(self, fault: str, wanted: int) -> set[str]:
        """Phases in which `fault` has hit fewer than `wanted` payments."""
        return {phase for phase in PHASES if len(self.hits[fault][phase]) < wanted}

    def show(self) -> None:
        """Print seed and counts."""
        console = Console(width=110)
        title = f"seed {self.seed}, {self.payments} payments, {self.duration_seconds:.0f} s"
        table = Table(title=f"Payments hit by each fault: {title}")
        for heading in ("fault", "times", *PHASES):
            table.add_column(heading, justify="left" if heading == "fault" else "right")
        for fault, times in sorted(self.faults.items()):
            counts = [str(len(self.hits[fault][phase])) for phase in PHASES]
            table.add_row(fault, str(times), *counts)
        console.print(table)
        listed = ", ".join(f"{name}: {count}" for name, count in sorted(self.answers.items()))
        console.print(f"Answers the merchant got: {listed}")
        for violation in self.violations[:50]:
            console.print(f"[red]{violation}[/]")


def prove_nothing_is_lost(
    folder: Path,
    *,
    seed: int,
    payments: int,
    concurrency: int,
    hits_wanted: int,
    deadline_seconds: float,
) -> Outcome:
    """Take `payments` payments under faults and judge them; see the module docstring."""
    chance = random.Random(seed)
    outcome = Outcome(seed=seed, payments=payments)
    began = time.monotonic()
    with running_stand(folder, settings={"FLORIN_PROVIDER_TIMEOUT_SECONDS": "4"}) as stand:
        stand.sandbox("POST", "/v1/control/settings", KNOBS)
        load = MerchantLoad(
            base_url=stand.base_url,
            secret_key=stand.shop["secret_key"],
            count=payments,
            concurrency=concurrency,
            deadline_seconds=deadline_seconds,
            random=chance,
        )
        load.start()
        _make_faults(stand, load, outcome, chance, hits_wanted)
        outcome.answers = dict(load.answers)
        outcome.violations += judge(stand, load)
        outcome.duration_seconds = time.monotonic() - began
    return outcome


def _make_faults(
    stand: Stand, load: MerchantLoad, outcome: Outcome, chance: random.Random, hits_wanted: int
) -> None:
    faults = faults_of(stand, chance)
    last = began = time.monotonic()
    while not load.is_over():
        time.sleep(0.02)
        lacking = {name: outcome.lacking(name, hits_wanted) for name in faults}
        open_faults = [name for name in faults if lacking[name]]
        if not open_faults or time.monotonic() - last < _BREATH_SECONDS:
            continue
        in_flight = load.in_flight()
        gain = {
            name: sum(
                1
                for phase, number in in_flight
                if phase in lacking[name] and number not in outcome.hits[name][phase]
            )
            for name in open_faults
        }
        best = max(open_faults, key=lambda name: gain[name])
        patience_over = time.monotonic() - last > _PATIENCE_SECONDS
        wanted_gain = min(hits_wanted, load.concurrency // 4)
        if gain[best] == 0 or (gain[best] < wanted_gain and not patience_over):
            continue
        if time.monotonic() - began < _BREATH_SECONDS:
            continue
        for phase, number in in_flight:
            outcome.hits[best][phase].add(number)
        outcome.faults[best] += 1
        faults[best]()
        last = time.monotonic()


def faults_of(stand: Stand, chance: random.Random) -> dict[str, Callable[[], None]]:
    """Each fault's name and how it is made."""

    def kill_worker() -> None:
        stand.worker.kill()
        stand.sweeper.kill()
        stand.worker.start()
        stand.sweeper.start()

    def kill_web() -> None:
        stand.web.kill()
        stand.web.start()

    def flush_redis() -> None:
        if chance.random() < 0.5:
            with redis.Redis.from_url(stand.servers.servers.redis_url) as client:
                client.flushall()
        else:
            stand.servers.redis.kill()
            stand.servers.redis.start()

    def restart_postgres() -> None:
        if chance.random() < 0.5:
            stand.servers.postgres.restart()
        else:
            stand.servers.postgres.kill()
            stand.servers.postgres.start()

    return {
        "worker and sweeper killed": kill_worker,
        "web killed": kill_web,
        "Redis flushed or killed": flush_redis,
        "PostgreSQL restarted or crashed": restart_postgres,
    }


def judge(stand: Stand, load: MerchantLoad) -> list[str]:
    """What is not as the provider's own record of money says; empty when all is well."""
    violations = [
        f"payment {payment.number} {payment.id}: {payment.failure}"
        for payment in load.payments
        if payment.failure
    ]
    amounts = {payment.id: payment.amount_minor for payment in load.payments if payment.id}
    violations += _judge_movements(stand.movements(), amounts)
    violations += _judge_ledger(stand, amounts)
    violations += _judge_verification(stand)
    return violations


def _judge_movements(movements: list[dict[str, Any]], amounts: dict[str, int]) -> list[str]:
    """Each payment's money was held once and taken once, and no other money was touched."""
    by_payment: dict[str, list[tuple[str, int]]] = defaultdict(list)
    objects: dict[str, set[str]] = defaultdict(set)
    for movement in movements:
        by_payment[movement["reference"]].append((movement["kind"], movement["amount_minor"]))
        objects[movement["reference"]].add(movement["payment"])
    violations = [
        f"the provider moved money for {reference}, which no merchant asked for"
        for reference in by_payment.keys() - amounts.keys()
    ]
    for payment_id, amount in amounts.items():
        moved = by_payment[payment_id]
        if moved != [("hold", amount), ("capture", amount)] or len(objects[payment_id]) != 1:
            violations.append(f"{payment_id} over {amount}: the provider moved {moved}")
    return violations


def _judge_ledger(stand: Stand, amounts: dict[str, int]) -> list[str]:
    """The ledger and the payments say of each payment what the provider's record says."""
    with psycopg.connect(stand.servers.servers.database_owner_url) as connection:
        states: dict[str, str] = dict(
            connection.execute("SELECT id, state FROM payments_payment").fetchall()
        )
        booked: dict[str, int] = dict(
            connection.execute(
                """
                SELECT e.source_id, sum(l.debit_minor)::bigint
                  FROM ledger_journal_entry e
                  JOIN ledger_line l ON l.entry_id = e.id
                  JOIN ledger_account a ON a.id = l.account_id
                 WHERE e.kind = 'payment.captured' AND a.code = 'psp:clearing'
                 GROUP BY e.source_id
                """
            ).fetchall()
        )
    violations = []
    if set(states) != set(amounts):
        violations.append(
            f"{len(states)} payments are stored, the merchant knows {len(amounts)}: "
            f"{sorted(set(states) ^ set(amounts))[:10]}"
        )
    if booked != amounts:
        different = {key for key in {*booked, *amounts} if booked.get(key) != amounts.get(key)}
        violations.append(f"the ledger differs from the provider's record for {sorted(different)}")
    for payment_id, state in states.items():
        if state != "settled":
            violations.append(f"{payment_id} is {state}")
    return violations


def _judge_verification(stand: Stand) -> list[str]:
    """`verify` holds, and the outbox is drained."""
    with psycopg.connect(stand.servers.servers.database_owner_url, autocommit=True) as connection:
        undone = open_rows(connection, seconds=_DRAIN_SECONDS)
    violations = [f"{undone} deliveries or provider events were left undone"] if undone else []
    verified = stand.manage("verify", "--json")
    if verified.returncode != 0:
        findings = json.loads(verified.stdout or "{}").get("findings", [])
        offences = [offence for finding in findings for offence in finding["offences"]]
        violations.append(f"verify: {offences[:20] or verified.stderr[-2000:]}")
    return violations


def open_rows(owner: psycopg.Connection, *, seconds: float) -> int:
    """How many handler deliveries and provider events are not done, after at most `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        row = owner.execute(
            "SELECT (SELECT count(*) FROM webhooks_event_delivery WHERE status <> 'done') + "
            "(SELECT count(*) FROM webhooks_inbox_event "
            " WHERE status IN ('received', 'deferred', 'failed', 'dead'))"
        ).fetchone()
        undone = int(row[0]) if row else 0
        if undone == 0 or time.monotonic() > deadline:
            return undone
        time.sleep(0.1)
