"""A steady load of payment creates and provider webhooks over HTTP, every answer with its time.

Mental model: each thread sends at fixed times, whatever the answers are, and waits for each answer
(a late one delays its own thread's next request only). A request without an answer counts as a
failure like a 5xx: the web processes are never touched by the faults made under this load.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import urllib3

from tests.proofs.pipeline_points import Webhook
from tests.proofs.pipeline_world import signed
from tests.proofs.stand import Stand

CREATES_PER_SECOND = 3.0
WEBHOOKS_PER_SECOND = 20.0
_THREADS = {"create": 4, "webhook": 4}
_REQUEST_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Answered:
    """One request: its kind, the phase it was sent in, its status (0: none), its duration."""

    kind: str
    phase: str
    status: int
    seconds: float


@dataclass
class SteadyLoad:
    """Runs from `start` to `stop`; `phase` is the name under which answers are counted now."""

    stand: Stand
    phase: str = "healthy"
    # Of the usual rates; less where a machine has little to give.
    share: float = 1.0
    answers: list[Answered] = field(default_factory=list)
    payments: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._http = urllib3.PoolManager(
            maxsize=16, retries=False, timeout=_REQUEST_TIMEOUT_SECONDS
        )
        rates = {
            "create": self.share * CREATES_PER_SECOND,
            "webhook": self.share * WEBHOOKS_PER_SECOND,
        }
        works: dict[str, Callable[[], int]] = {"create": self._create, "webhook": self._tell}
        self._threads = [
            threading.Thread(
                target=self._send_at_fixed_times,
                args=(kind, works[kind], count / rates[kind], number / rates[kind]),
                daemon=True,
            )
            for kind, count in _THREADS.items()
            for number in range(count)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send nothing more and wait for the last answers."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * _REQUEST_TIMEOUT_SECONDS)

    def statuses(self) -> Counter[tuple[str, int]]:
        """(kind, status) -> how often."""
        return Counter((one.kind, one.status) for one in self.answers)

    def percentiles_ms(self, share: float) -> dict[tuple[str, str], float]:
        """(kind, phase) -> the duration that this share of its requests did not exceed."""
        durations: dict[tuple[str, str], list[float]] = defaultdict(list)
        for one in self.answers:
            durations[one.kind, one.phase].append(one.seconds * 1000)
        return {
            key: sorted(found)[min(len(found) - 1, int(len(found) * share))]
            for key, found in durations.items()
        }

    def _send_at_fixed_times(
        self, kind: str, work: Callable[[], int], every_seconds: float, offset_seconds: float
    ) -> None:
        due = time.monotonic() + offset_seconds
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due = max(due + every_seconds, time.monotonic() - every_seconds)
            phase, began = self.phase, time.monotonic()
            try:
                status = work()
            except urllib3.exceptions.HTTPError:
                status = 0
            self.answers.append(Answered(kind, phase, status, time.monotonic() - began))

    def _create(self) -> int:
        response = self._http.request(
            "POST",
            f"{self.stand.base_url}/v1/payments",
            json={
                "amount_minor": 4200,
                "currency": "EUR",
                "confirm": True,
                "payment_method": "tok_bank",
            },
            headers={
                "Authorization": f"Bearer {self.stand.shop['secret_key']}",
                "Idempotency-Key": f"steady-{secrets.token_hex(16)}",
            },
        )
        if response.status in (201, 202):
            self.payments.append(response.json()["id"])
        return response.status

    def _tell(self) -> int:
        """News about an object that is not ours: the work of the intake and little else."""
        webhook = strange_news(self.stand)
        response = self._http.request(
            "POST",
            self.stand.base_url + webhook.path,
            body=webhook.body,
            headers={**webhook.headers, "Content-Type": "application/json"},
        )
        if response.status == 200:
            self.events.append(webhook.headers["webhook-id"])
        return response.status


def strange_news(stand: Stand) -> Webhook:
    """A signed event of the provider about a payment that somebody else made."""
    event = strange_event(f"sbp_{secrets.token_hex(12)}", version=3)
    path = f"/webhooks/sandbox/{stand.shop['endpoint_token']}"
    return signed(event, path=path, secret=stand.shop["webhook_secret"])


def strange_event(reference: str, *, version: int) -> dict[str, Any]:
    """What the sandbox would say of a payment that names no reference of ours."""
    return {
        "object": "event",
        "id": f"sbe_{reference}_{version}",
        "type": "payment.captured",
        "created_at": "2026-11-20T12:00:00.000+00:00",
        "account": "sba_0123456789abcdef0123",
        "livemode": False,
        "data": {
            "payment": {
                "object": "payment",
                "id": reference,
                "version": version,
                "status": "captured",
                "amount_minor": 4200,
                "currency": "EUR",
                "capture": "automatic",
                "amount_capturable_minor": 0,
                "amount_captured_minor": 4200,
                "amount_settled_minor": 0,
                "amount_returned_minor": 0,
                "reference": "",
                "description": "",
                "client_secret": f"{reference}_secret_0123456789abcdef01234567",
                "attempt": 1,
                "token": "tok_visa",
                "method": {"kind": "card", "brand": "visa", "last4": "4242"},
                "charge": f"sbc_{reference}",
                "fee_minor": 152,
                "fee_currency": "EUR",
                "refunds": [],
                "disputes": [],
                "settled": False,
                "created_at": "2026-11-20T12:00:00.000+00:00",
                "livemode": False,
            }
        },
    }
