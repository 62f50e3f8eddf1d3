"""One merchant's world for the life proof: what may happen to payments, one step at a time.

Mental model: every method of `World` is a step. A step either happens (accepted) or is refused with
words (a FlorinError of ours, a 4xx of the provider's controls); anything else that is raised is a
finding. After each step the payment it was about is judged (tests.proofs.life_judge). Time moves
only when a step moves it, on both sides at once, so a seed tells the same story every time.
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
from payments.actions import resolve_review
from payments.actions.change import Cause
from payments.actions.expire_payment import expire_payment
from payments.actions.resume_payment import lease_operation, poll_payment, resume_operation
from payments.actions.update_payment import note_payer_return
from payments.errors import FlorinError
from payments.models import Dispute, Payment, ProviderOperation, ReviewCase
from payments.providers.sandbox.service.accounts import publishable_key_for
from tests.payments.shop import create_parameters, new_key, open_shop
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


class World:
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

    # --- the provider, asked directly ----------------------------------------------------------

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

    # --- the frame of every step ---------------------------------------------------------------

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

    # --- what merchant and staff do --------------------------------------------------------------

    def create(self, *, fault: str = "", **changes: Any) -> str:
        """A new payment; confirmed unless told otherwise. Gives its id, "" when refused."""
        parameters = create_parameters(**changes)
        kind = "create"
        made: list[str] = []

        def do() -> Any:
            with self.faulty(fault, kind):
                try:
                    return self.shop.ask("payments.create", parameters)
                finally:
                    newest = Payment.objects.filter(merchant=self.shop.merchant).order_by("-pk")
                    found = newest.values_list("pk", flat=True).first()
                    if found and found not in self.payments:
                        self.payments.append(found)
                        made.append(found)

        shown = {name: value for name, value in changes.items() if name != "metadata"}
        self.step(f"create {shown} {fault}", "", do)
        if made:
            self.trail.append(f"{made[0][-6:]} created {shown} {fault}")
            judge_step(self, made[0])
        return made[0] if made else ""

    def ask(self, verb: str, payment_id: str, *, fault: str = "", **parameters: Any) -> Any:
        """One verb of the merchant's about an existing payment, answered as the API does."""
        kind = KINDS.get(verb, "")
        if verb == "payments.confirm" and not self._has_object(payment_id):
            kind = "create"
        if "dispute" not in parameters:
            parameters["payment"] = payment_id

        def do() -> Any:
            with self.faulty(fault, kind):
                return self.shop.ask(verb, parameters, key=new_key())

        told = {name: value for name, value in parameters.items() if name != "payment"}
        return self.step(f"{verb} {told} {fault}", payment_id, do)

    def confirm(self, payment_id: str, token: str = "tok_visa", **more: Any) -> Any:
        """Confirm with a token."""
        return self.ask(
            "payments.confirm", payment_id, payment_method=token, return_url="", **more
        )

    def capture(
        self, payment_id: str, amount_minor: int | None = None, *, final: bool = True, **more: Any
    ) -> Any:
        """Capture all or a part."""
        return self.ask(
            "payments.capture", payment_id, amount_minor=amount_minor, final_capture=final, **more
        )

    def cancel(self, payment_id: str, **more: Any) -> Any:
        """Cancel, void."""
        return self.ask("payments.cancel", payment_id, reason="", **more)

    def increment(self, payment_id: str, amount_minor: int, **more: Any) -> Any:
        """Raise the authorization to a new total."""
        return self.ask(
            "payments.increment_authorization", payment_id, amount_minor=amount_minor, **more
        )

    def refund(self, payment_id: str, amount_minor: int | None = None, **more: Any) -> Any:
        """Refund all that is left or a part."""
        asked = {"reason": "", "metadata": {}, "refund_platform_fee": False, **more}
        return self.ask("refunds.create", payment_id, amount_minor=amount_minor, **asked)

    def update(self, payment_id: str) -> Any:
        """Another payment method before anything is sent."""
        changes: dict[str, Any] = {"description": "once more", "metadata": None}
        return self.ask("payments.update", payment_id, payment_method="tok_visa", **changes)

    def answer_dispute(self, payment_id: str, verb: str, words: str = "", **more: Any) -> Any:
        """Hand evidence in ("submit_evidence") or give up ("accept") for the newest open case."""
        cases = Dispute.objects.filter(payment_id=payment_id).order_by("-pk")
        chosen = cases.exclude(closed_at__isnull=False).first() or cases.first()
        if chosen is None:
            return None
        parameters: dict[str, Any] = {"dispute": chosen.pk}
        if verb == "submit_evidence":
            parameters["evidence"] = {"uncategorized_text": words or "It was delivered."}
        return self.ask(f"disputes.{verb}", payment_id, **parameters, **more)

    def decide(self, payment_id: str, decision: str, *, fault: str = "") -> Any:
        """A person decides: "accept_provider", "cancel", "release" or "close" the oldest case."""

        def do() -> Any:
            with self.faulty(fault, "cancel" if decision == "cancel" else ""):
                with acting_as(Actor(type="user", id="staff_test")):
                    if decision == "close":
                        found = ReviewCase.objects.filter(payment_id=payment_id, resolved_at=None)
                        case = found.order_by("opened_at").first()
                        if case is None:
                            raise Refused("there is no open case")
                        return resolve_review.close_case(
                            case.pk, words="settled outside", clock=self.shop.now
                        )
                    act = DECISIONS[decision]
                    return act(payment_id, words="looked at", clock=self.shop.now)

        return self.step(f"decide {decision} {fault}", payment_id, do)

    # --- what goes on by itself --------------------------------------------------------------------

    def poll(self, payment_id: str, *, fault: str = "") -> Any:
        """The poller asks."""

        def do() -> None:
            with self.faulty(fault, ""), self.shop.acting():
                poll_payment(payment_id, clock=self.shop.now)

        return self.step(f"poll {fault}", payment_id, do)

    def resume(self, payment_id: str, *, fault: str = "") -> Any:
        """Whoever is due drives the payment's open operation on, if there is one."""

        def do() -> Any:
            open_operation = ProviderOperation.objects.filter(
                payment_id=payment_id, finished_at=None
            ).first()
            if open_operation is None:
                raise Refused("no operation is open")
            with self.faulty(fault, open_operation.kind), self.shop.acting():
                leased = lease_operation(open_operation.pk, now=self.shop.now())
                if leased is None:
                    raise Refused("somebody drives it")
                return resume_operation(leased, cause=Cause(type="poll"), clock=self.shop.now)

        return self.step(f"resume {fault}", payment_id, do)

    def settle_operation(self, payment_id: str) -> None:
        """Resume until the operation has ended, as the poller would in time."""
        for _ in range(6):
            if not ProviderOperation.objects.filter(
                payment_id=payment_id, finished_at=None
            ).exists():
                return
            self.later(61)
            self.resume(payment_id)

    def expire(self, payment_id: str, *, fault: str = "") -> Any:
        """The job that gives up what nobody paid in time."""

        def do() -> None:
            with self.faulty(fault, "cancel"), self.shop.acting():
                expire_payment(payment_id, clock=self.shop.now)

        return self.step(f"expire {fault}", payment_id, do)

    def payer_returns(self, payment_id: str) -> Any:
        """The payer came back from a step."""

        def do() -> None:
            with self.shop.acting():
                note_payer_return(payment_id, clock=self.shop.now)

        return self.step("payer returns", payment_id, do)

    def later(self, seconds: float) -> None:
        """Time passes on both sides."""

        def do() -> None:
            self.psp("POST", "/v1/control/clock", {"advance_seconds": seconds})
            self.shop.ahead_by(seconds=seconds)

        self.step(f"{seconds} s pass", "", do)
        self.trail[-1] = " " + self.trail[-1]

    # --- what happens at the provider ---------------------------------------------------------------

    def happens(self, payment_id: str, action: str, **body: Any) -> Any:
        """The payer's bank, the fraud desk or the dashboard acts on a payment."""

        def do() -> Any:
            reference = self.document(payment_id)["id"]
            done = self.psp("POST", f"/v1/control/payments/{reference}/{action}", body)
            self.dashboard.setdefault(payment_id, []).append(action)
            return done

        return self.step(f"psp {action} {body}", payment_id, do)

    def refund_happens(self, payment_id: str, result: str) -> Any:
        """The newest refund has news at the provider."""

        def do() -> Any:
            refunds = self.document(payment_id)["refunds"]
            if not refunds:
                raise Refused("no refund")
            path = f"/v1/control/refunds/{refunds[-1]['id']}"
            return self.psp("POST", path, {"result": result})

        return self.step(f"psp refund {result}", payment_id, do)

    def dispute_happens(self, payment_id: str, result: str, *, which: int = -1, **more: Any) -> Any:
        """A dispute moves on at the provider."""

        def do() -> Any:
            disputes = self.document(payment_id)["disputes"]
            if not disputes:
                raise Refused("no dispute")
            path = f"/v1/control/disputes/{disputes[which]['id']}"
            return self.psp("POST", path, {"result": result, **more})

        return self.step(f"psp dispute {result}", payment_id, do)

    def authenticate(self, payment_id: str, result: str) -> Any:
        """The payer's 3-D Secure step: "succeed" or "fail"."""
        return self._payer(payment_id, "authentication", {"result": result})

    def pay_there(self, payment_id: str, token: str) -> Any:
        """The payer confirms at the provider by themselves."""
        return self._payer(payment_id, "confirm", {"token": token})

    def _payer(self, payment_id: str, what: str, body: dict[str, Any]) -> Any:
        def do() -> Any:
            document = self.document(payment_id)
            body["client_secret"] = document["client_secret"]
            self.dashboard.setdefault(payment_id, []).append(f"payer {what}")
            try:
                return self.psp(
                    "POST", f"/v1/payments/{document['id']}/{what}", body, payer=True
                )
            except Refused as refusal:
                if self.document(payment_id)["version"] == document["version"]:
                    raise
                return refusal

        return self.step(f"payer {what} {body}", payment_id, do)

    def set(self, **knobs: Any) -> None:
        """Turn the provider's knobs."""
        self.psp("POST", "/v1/control/settings", knobs)
        self.trail.append(f" knobs {knobs}")

    # --- webhooks ------------------------------------------------------------------------------------

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
        self.tally.webhooks[how] += len(taken)
        if not payment_id:
            for other in {event["data"]["payment"]["reference"] for event in taken}:
                judge_step(self, other)

    # --- what there is ------------------------------------------------------------------------------

    def payment(self, payment_id: str) -> Payment:
        """The payment's row."""
        return Payment.objects.get(pk=payment_id)

    def _has_object(self, payment_id: str) -> bool:
        return self.payment(payment_id).attempts.exclude(provider_reference="").exists()


KINDS = {
    "payments.confirm": "confirm",
    "payments.capture": "capture",
    "payments.cancel": "cancel",
    "payments.increment_authorization": "increment",
    "refunds.create": "refund",
    "disputes.submit_evidence": "submit_evidence",
    "disputes.accept": "accept_dispute",
}
DECISIONS: dict[str, Callable[..., Any]] = {
    "accept_provider": resolve_review.accept_provider,
    "cancel": resolve_review.cancel_reviewed_payment,
    "release": resolve_review.release_payment,
}


def provider_url() -> str:
    """Where the sandbox itself answers."""
    return str(settings.FLORIN_SANDBOX_URL)
