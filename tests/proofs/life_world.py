"""What may happen to payments in the life proof, one step at a time.

Mental model: every method of `World` is a step: merchant and staff ask, workers work, the payer and
the payer's bank act at the provider. What a step is, and how it is judged, stands in `life_frame`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from audit.log import Actor, acting_as
from payments.actions import resolve_review
from payments.actions.change import Cause
from payments.actions.expire_payment import expire_payment
from payments.actions.resume_payment import lease_operation, poll_payment, resume_operation
from payments.actions.update_payment import note_payer_return
from payments.models import Dispute, Payment, ProviderOperation, ReviewCase
from tests.payments.shop import create_parameters, new_key
from tests.proofs.life_frame import Frame, Refused
from tests.proofs.life_judge import judge_step


class World(Frame):
    """A merchant, its payments, the provider's side of them: everything that may happen."""

    # --- what merchant and staff do -----------------------------------------------------------

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
        return self.ask("payments.confirm", payment_id, payment_method=token, return_url="", **more)

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
            with (
                self.faulty(fault, "cancel" if decision == "cancel" else ""),
                acting_as(Actor(type="user", id="staff_test")),
            ):
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

    # --- what goes on by itself ---------------------------------------------------------------

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

    # --- what happens at the provider ---------------------------------------------------------

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
                return self.psp("POST", f"/v1/payments/{document['id']}/{what}", body, payer=True)
            except Refused as refusal:
                if self.document(payment_id)["version"] == document["version"]:
                    raise
                return refusal

        return self.step(f"payer {what} {body}", payment_id, do)

    # --- what there is ------------------------------------------------------------------------

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
