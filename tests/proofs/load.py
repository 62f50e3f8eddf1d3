"""A merchant that never gives up: payments over HTTP, each request repeated with its own key.

Mental model: every payment goes through all five phases (create, confirm, webhook, capture,
settle) on a thread of its own. What a merchant may rely on is all it relies on: an answer that is
not final (no connection, 5xx, 202, "in use") is asked for again with the same Idempotency-Key.
The phase each payment is in is visible to whoever makes faults, so that a fault's hits are counted
and not assumed.
"""

from __future__ import annotations

import json
import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import urllib3

PHASES = ("create", "confirm", "webhook", "capture", "settle")
_RETRY_SECONDS = (0.05, 0.6)
_START_SPREAD_SECONDS = 4.0


class PaymentStuck(Exception):
    """A payment that did not reach the next phase before the run's deadline."""


@dataclass
class MerchantPayment:
    """One payment as its merchant sees it; `phase` is "" before it starts and after it ends."""

    number: int
    amount_minor: int
    phase: str = ""
    id: str = ""
    status: str = ""
    failure: str = ""


@dataclass
class MerchantLoad:
    """`count` payments by at most `concurrency` threads; join with `wait`."""

    base_url: str
    secret_key: str
    count: int
    concurrency: int
    deadline_seconds: float
    random: random.Random
    method_of: Callable[[int], str] = lambda number: "tok_bank"
    payments: list[MerchantPayment] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.payments = [
            MerchantPayment(number=number, amount_minor=self.random.randint(100, 90_000))
            for number in range(self.count)
        ]
        self._waiting = list(reversed(self.payments))
        self._deadline = time.monotonic() + self.deadline_seconds
        self._http = urllib3.PoolManager(
            maxsize=self.concurrency, block=False, retries=False, timeout=20.0
        )
        self._lock = threading.Lock()
        self._pace = random.Random(self.random.random())
        self._threads = [
            threading.Thread(target=self._work, daemon=True) for _ in range(self.concurrency)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def is_over(self) -> bool:
        """True when every payment ended, well or not."""
        return not any(thread.is_alive() for thread in self._threads)

    def in_flight(self) -> list[tuple[str, int]]:
        """(phase, payment number) of every payment that is between its beginning and its end."""
        return [(payment.phase, payment.number) for payment in self.payments if payment.phase]

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    return
                payment = self._waiting.pop()
            # Payments do not march in step, so that a fault finds them in different phases.
            time.sleep(self._pace.uniform(0, _START_SPREAD_SECONDS))
            try:
                self._take(payment)
            except Exception as error:  # noqa: BLE001 - the main thread tells a thread's failure
                payment.failure = f"in {payment.phase}: {type(error).__name__}: {error}"
            payment.phase = ""

    def _take(self, payment: MerchantPayment) -> None:
        payment.phase = "create"
        body = {
            "amount_minor": payment.amount_minor,
            "currency": "EUR",
            "capture_method": "manual",
            "metadata": {"number": str(payment.number)},
        }
        payment.id = self._ask("/v1/payments", body, expected=201)["id"]
        payment.phase = "confirm"
        path = f"/v1/payments/{payment.id}"
        self._ask(
            f"{path}/confirm", {"payment_method": self.method_of(payment.number)}, expected=200
        )
        payment.phase = "webhook"
        self._wait_for(payment, lambda status: status == "authorized")
        payment.phase = "capture"
        self._ask(f"{path}/capture", {}, expected=200)
        payment.phase = "settle"
        self._wait_for(payment, lambda status: status == "settled")

    def _ask(self, path: str, body: dict[str, Any], *, expected: int) -> dict[str, Any]:
        """POST until there is a final answer, always with the same key."""
        headers = {"Idempotency-Key": f"proof-{secrets.token_hex(16)}"}
        while True:
            status, answer = self._request("POST", path, headers=headers, body=body)
            if status == expected:
                return answer
            final = status not in (0, 202, 429) and status < 500
            code = answer.get("error", {}).get("code", "")
            if final and code not in ("idempotency_key_in_use", "operation_in_flight"):
                raise AssertionError(f"{path} answered {status} {json.dumps(answer)[:400]}")
            self._pause(path)

    def _wait_for(self, payment: MerchantPayment, reached: Callable[[str], bool]) -> None:
        while True:
            status, answer = self._request("GET", f"/v1/payments/{payment.id}")
            if status == 200:
                payment.status = answer["status"]
                if reached(payment.status):
                    return
            self._pause(f"{payment.id} is {payment.status or status}")

    def _request(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """(status, answer); status 0 where there was none."""
        headers = {"Authorization": f"Bearer {self.secret_key}", **options.get("headers", {})}
        try:
            response = self._http.request(
                method, self.base_url + path, headers=headers, json=options.get("body")
            )
            answer = response.json()
        except (urllib3.exceptions.HTTPError, ValueError):
            self.answers[f"{method} without answer"] += 1
            return 0, {}
        self.answers[f"{method} {response.status}"] += 1
        return response.status, answer

    def _pause(self, what: str) -> None:
        if time.monotonic() > self._deadline:
            raise PaymentStuck(what)
        time.sleep(self._pace.uniform(*_RETRY_SECONDS))
