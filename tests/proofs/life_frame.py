"""The frame of every step of the life proof: the provider's side, time, webhooks, faults.

Mental model: a step either happens (accepted) or is refused with words (a FlorinError of ours, a
4xx of the provider's controls); anything else that is raised is a finding. After each step the
payment it was about is judged (tests.proofs.life_judge). Time moves only when a step moves it, on
both sides at once, so a seed tells the same story every time.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import urllib3
from django.conf import settings
from django.db import transaction

from audit.log import Actor, acting_as
from payments.errors import FlorinError
from payments.models import Payment
from payments.providers.sandbox.service.accounts import publishable_key_for
from tests.payments.shop import open_shop
from tests.proofs.liar import LIES, Liar
from tests.proofs.life_judge import Finding, judge_step
from tests.proofs.life_tally import Tally

# Nothing falls due by the wall clock while a run lasts.
KNOBS: dict[str, Any] = {
    "settle_after_seconds": 6_000.0,
    "bank_result_after_seconds": 3_000.0,
    "capture_result_after_seconds": 3_000.0,
    "refund_result_after_seconds": 3_000.0,
    "late_failure_after_seconds": 9_000.0,
    "dispute_after_seconds": 9_000.0,
    "dispute_step_after_seconds": 9_000.0,
    "dispute_decision_after_seconds": 6_000.0,
    "settlement_batch_seconds": 9_000.0,
    "payout_after_seconds": 9_000.0,
    "hang_seconds": 0.45,
}
TIMEOUT_SECONDS = 0.35
CALL_FAULTS = (
    "fail_before_commit",
    "fail_after_commit",
    "drop_before_commit",
    "drop_after_commit",
    "hang_before_commit",
    "hang_after_commit",
)
FAULTS = (*CALL_FAULTS, "outage", *(f"wrong {lie}" for lie in LIES))
# Amounts above this wait for a person before the provider is asked.
SCREENED_ABOVE_MINOR = 90_000


class Refused(Exception):
    """The provider's controls refused what was to happen there."""


class Frame:
    """A merchant, its payments, the provider's side of them, and the webhooks on their way."""

    def __init__(self, liar: Liar, tally: Tally, chance: random.Random) -> None:
        self.liar, self.tally, self.chance = liar, tally, chance
        self.shop = open_shop()
        merchant = self.shop.merchant
        merchant.review_above_minor = SCREENED_ABOVE_MINOR
        with acting_as(Actor(type="system", id="test")), transaction.atomic():
            merchant.save()
        tally.merchants.append(merchant.pk)
        self._http = urllib3.PoolManager(retries=False)
        self._seen = 0
        self.news_waiting: list[dict[str, Any]] = []
        self.payments: list[str] = []
        self.knobs: dict[str, Any] = {}
        # What a person did in the provider's dashboard, by payment and kind.
        self.dashboard: dict[str, list[str]] = {}
        self.trail: list[str] = []
        self.psp("POST", "/v1/control/settings", KNOBS)

    # --- the provider, asked directly ---------------------------------------------------------

    def psp(self, method: str, path: str, body: Any = None, *, payer: bool = False) -> Any:
        """Ask the sandbox past the liar. Raises Refused for a 4xx."""
        key = self.shop.sandbox_key
        if payer:
            key = publishable_key_for(key)
        headers = {"Authorization": f"Bearer {key}"}
        response = self._http.request(
            method, self.liar.target_url + path, json=body, headers=headers
        )
        if 400 <= response.status < 500:
            raise Refused(response.json()["error"]["message"])
        assert response.status < 300, (response.status, response.data)
        return response.json()

    def movements(self, payment_id: str) -> list[dict[str, Any]]:
        """What really happened to the payment's money."""
        found: list[dict[str, Any]] = self.psp("GET", f"/v1/movements?reference={payment_id}")[
            "data"
        ]
        return found

    def document(self, payment_id: str) -> dict[str, Any]:
        """The provider's payment with all its parts. Raises Refused when it has none."""
        found = self.psp("GET", f"/v1/payments?reference={payment_id}")["data"]
        if not found:
            raise Refused("the provider has no such payment")
        document: dict[str, Any] = found[0]
        return document

    # --- the frame of every step --------------------------------------------------------------

    def step(self, words: str, payment_id: str, do: Callable[[], Any]) -> Any:
        """Do one step, count it, judge the payment it was about. Gives its result, or None."""
        self.tally.steps += 1
        result, end = None, "ok"
        try:
            result = do()
            self.tally.accepted += 1
        except (FlorinError, Refused) as refusal:
            code = refusal.code.name if isinstance(refusal, FlorinError) else "psp"
            self.tally.refusals[code] += 1
            end = f"refused: {str(refusal)[:90]}"
        except Exception as error:
            self.trail.append(f"{payment_id[-6:]} {words}")
            raise Finding(
                f"{type(error).__name__}: {error}\n{traceback.format_exc()[-2500:]}\n"
                + self.story(payment_id)
            ) from error
        status = getattr(result, "status", "")
        self.trail.append(f"{payment_id[-6:]} {words} -> {end} {status}")
        if payment_id:
            judge_step(self, payment_id)
        return result

    def story(self, payment_id: str) -> str:
        """The steps so far about a payment, and those about no one."""
        mine = [
            line
            for line in self.trail
            if line.startswith((payment_id[-6:], " ")) and "webhooks in order []" not in line
        ]
        return "\n".join(mine[:60] + ["..."] * (len(mine) > 100) + mine[60:][-40:])

    @contextmanager
    def faulty(self, fault: str, kind: str) -> Iterator[None]:
        """The next call of ours meets `fault`; counted when a call was made."""
        if not fault:
            yield
            return
        before = self.liar.changes
        if fault.startswith("wrong "):
            self.liar.lie = fault.removeprefix("wrong ")
            off: dict[str, Any] = {}
        else:
            on: Any = True if fault == "outage" else 1
            off = {fault: False if fault == "outage" else 0}
            self.psp("POST", "/v1/control/settings", {fault: on})
        try:
            yield
        finally:
            self.liar.lie = ""
            if off:
                self.psp("POST", "/v1/control/settings", off)
            if self.liar.changes > before and kind:
                self.tally.met[fault, kind] += 1

    def later(self, seconds: float) -> None:
        """Time passes on both sides."""

        def do() -> None:
            self.psp("POST", "/v1/control/clock", {"advance_seconds": seconds})
            self.shop.ahead_by(seconds=seconds)

        self.step(f"{seconds} s pass", "", do)
        self.trail[-1] = " " + self.trail[-1]

    def set(self, **knobs: Any) -> None:
        """Turn the provider's knobs."""
        self.psp("POST", "/v1/control/settings", knobs)
        self.trail.append(f" knobs {knobs}")

    # --- webhooks -----------------------------------------------------------------------------

    def collect(self) -> None:
        """Have the provider's new events wait for delivery."""
        while True:
            page = self.psp("GET", f"/v1/events?after={self._seen}&limit=1000")["data"]
            if not page:
                return
            self._seen = page[-1]["seq"]
            self.news_waiting += page

    def news(self, payment_id: str = "", how: str = "in order", count: int = 0) -> None:
        """Webhooks come, about one payment or all: "in order", "reversed", "twice", "shuffled";
        "lost": they never come. `count`: only so many of them, the rest later.
        """
        self.collect()
        about = [
            event
            for event in self.news_waiting
            if not payment_id or event["data"]["payment"]["reference"] == payment_id
        ]
        taken = about[:count] if count else about
        self.news_waiting = [event for event in self.news_waiting if event not in taken]
        self.tally.webhooks[how] += len(taken)
        if how == "lost":
            self.trail.append(f"{payment_id[-6:] or ' '} {len(taken)} webhooks lost")
            return
        if how == "reversed":
            taken = taken[::-1]
        elif how == "twice":
            taken = [event for event in taken for _ in range(2)]
        elif how == "shuffled":
            self.chance.shuffle(taken)

        def do() -> None:
            for event in taken:
                self.shop.receive(event)
            self.shop.drain()

        types = [event["type"] for event in taken]
        self.step(f"webhooks {how} {types}", payment_id, do)
        if not payment_id:
            for other in {event["data"]["payment"]["reference"] for event in taken}:
                judge_step(self, other)

    # --- what there is ------------------------------------------------------------------------

    def payment(self, payment_id: str) -> Payment:
        """The payment's row."""
        return Payment.objects.get(pk=payment_id)


def provider_url() -> str:
    """Where the sandbox itself answers."""
    return str(settings.FLORIN_SANDBOX_URL)
