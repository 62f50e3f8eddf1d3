"""A whole Florin of which everything is killed at random while a merchant takes payments for hours.

Mental model: nothing here stands in for anything. Payments go over HTTP to the sandbox provider and
through all their phases, some are asked about by the payer's bank; the merchant's server, a mail
server and a listener in Slack's place write down what reaches them. At random moments one of the
processes dies, Redis forgets or dies, PostgreSQL restarts or crashes. Once the last payment is
settled and nothing is open, the provider's record judges (tests.proofs.faults), and so does what
arrived outside (tests.proofs.soak_judge). Faults are spread over the payments, not over time, so
that a slow machine gets on between them: each finds some forty payments on their way.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from config import processes
from tests.payments.notifications.servers import (
    MailServer,
    certificate_of_loopback,
    mail_server,
    tls_of,
)
from tests.proofs import soak_judge
from tests.proofs.faults import faults_of, judge
from tests.proofs.load import MerchantLoad
from tests.proofs.soak_judge import Counts
from tests.proofs.stand import Restartable, Stand, running_stand
from tests.webhooks.receiver import Receiver, receiving

_PACE = {
    "latency_seconds": 0.05,
    "bank_result_after_seconds": 1.0,
    "settle_after_seconds": 1.0,
    "dispute_after_seconds": 0.5,
    "webhook_copies": 1,
}
_MISBEHAVIOUR = {
    "webhook_drop": 3,
    "webhook_reorder": 20,
    "drop_before_commit": 1,
    "drop_after_commit": 1,
    "fail_after_commit": 1,
}
_CONCURRENCY = 40
# Every so many payments one is asked about by the payer's bank, of which staff are told.
_ASKED_ABOUT = 25
# Five provider events and six of ours; a payment that is asked about has more.
EVENTS_PER_PAYMENT = 11
# On average one fault for so many payments that were settled.
_PAYMENTS_PER_FAULT = 25
_PROGRESS_SECONDS = 30.0


@dataclass
class Outcome:
    """What a run did and found; `violations` is empty when nothing was lost, doubled, changed."""

    seed: int
    payments: int
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    answers: dict[str, int] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    violations: list[str] = field(default_factory=list)

    def words(self) -> str:
        """The proof's record."""
        faults = ", ".join(f"{count} x {name}" for name, count in sorted(self.faults.items()))
        answers = ", ".join(f"{name}: {count}" for name, count in sorted(self.answers.items()))
        found = "".join(f"\n  {violation}" for violation in self.violations[:50])
        return (
            f"\nseed {self.seed}: {self.payments} payments in {self.seconds:.0f} s, "
            f"{self.faults.total()} faults ({faults})\n{self.counts.words()}\n"
            f"answers the merchant got: {answers}\n"
            f"{len(self.violations)} lost, doubled, out of order or changed{found}"
        )


@dataclass(frozen=True)
class Outside:
    """Everybody to whom Florin sends: the merchant, a mail server, one in Slack's place."""

    merchant: Receiver
    mail: MailServer
    slack: Receiver
    ca_file: Path

    def settings(self) -> dict[str, str]:
        """How Florin is told of them, as environment variables."""
        return {
            "EMAIL_URL": f"smtp://127.0.0.1:{self.mail.port}",
            "FLORIN_MAIL_FROM": "florin@pay.example",
            "SSL_CERT_FILE": str(self.ca_file),
            "FLORIN_WEBHOOK_ALLOWED_HOSTS": (
                f"127.0.0.1:{self.merchant.port},127.0.0.1:{self.slack.port}"
            ),
            "FLORIN_PROVIDER_TIMEOUT_SECONDS": "4",
            "LOG_LEVEL": "ERROR",
        }


def soak(
    folder: Path, *, seed: int, payments: int, deadline_seconds: float, say: Callable[[str], None]
) -> Outcome:
    """Take payments, kill, wait until everything is done, and judge; `say` is told the progress."""
    outcome = Outcome(seed=seed, payments=payments)
    chance = random.Random(seed)
    began = time.monotonic()
    with _running(folder) as (stand, second_sweeper, outside):
        load = MerchantLoad(
            base_url=stand.base_url,
            secret_key=stand.shop["secret_key"],
            count=payments,
            concurrency=_CONCURRENCY,
            deadline_seconds=deadline_seconds,
            random=chance,
            method_of=lambda number: "tok_bank" if number % _ASKED_ABOUT else "tok_dispute_inquiry",
        )
        load.start()
        _make_faults(stand, second_sweeper, load, outcome, chance, say=say)
        outcome.answers = dict(load.answers)
        outcome.violations += judge(stand, load)
        outcome.counts = soak_judge.judge(
            stand, outside.merchant, outside.mail, outside.slack, violations=outcome.violations
        )
        outcome.seconds = time.monotonic() - began
    return outcome


@contextmanager
def _running(folder: Path) -> Iterator[tuple[Stand, Restartable, Outside]]:
    certificate = certificate_of_loopback(folder)
    with ExitStack() as stack:
        outside = Outside(
            merchant=stack.enter_context(receiving(0)),
            mail=stack.enter_context(mail_server()),
            slack=stack.enter_context(receiving(0, tls=tls_of(certificate))),
            ca_file=certificate,
        )
        stand = stack.enter_context(
            running_stand(folder, settings=outside.settings(), with_background=False)
        )
        subprocess.run(
            [sys.executable, "-m", "tests.proofs.prepare_staff", str(outside.slack.port)],
            cwd=processes.BASE_DIR,
            env=stand.environment,
            timeout=120,
            check=True,
        )
        second_sweeper = Restartable(
            processes.sweeper(),
            log_path=folder / "sweeper-2.log",
            environment=stand.environment,
        )
        stack.callback(second_sweeper.stop)
        stand.send_events_to(outside.merchant.url)
        stand.sandbox("POST", "/v1/control/settings", _PACE)
        for process in (stand.worker, stand.sweeper, second_sweeper):
            process.start()
        yield stand, second_sweeper, outside


def _make_faults(
    stand: Stand,
    second_sweeper: Restartable,
    load: MerchantLoad,
    outcome: Outcome,
    chance: random.Random,
    *,
    say: Callable[[str], None],
) -> None:
    def kill_second_sweeper() -> None:
        second_sweeper.kill()
        second_sweeper.start()

    def let_the_provider_misbehave() -> None:
        stand.sandbox("POST", "/v1/control/settings", _MISBEHAVIOUR)

    faults = {
        **faults_of(stand, chance),
        "second sweeper killed": kill_second_sweeper,
        "webhooks and answers of the provider lost": let_the_provider_misbehave,
    }
    names = sorted(faults)
    told = began = time.monotonic()
    due_at_payment = chance.uniform(0, _PAYMENTS_PER_FAULT)
    while not load.is_over():
        time.sleep(0.05)
        now = time.monotonic()
        ended = sum(1 for payment in load.payments if payment.status == "settled")
        if now > told + _PROGRESS_SECONDS:
            told, made = now, outcome.faults.total()
            say(f"{now - began:.0f} s: {ended} of {load.count} settled, {made} faults")
        if ended >= due_at_payment:
            name = chance.choice(names)
            faults[name]()
            outcome.faults[name] += 1
            due_at_payment += chance.uniform(1, 2 * _PAYMENTS_PER_FAULT - 1)
