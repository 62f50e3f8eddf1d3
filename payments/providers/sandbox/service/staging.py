"""The controls that play everybody else (`/v1/control/payments|refunds|disputes|...`): the payer's
bank, the PSP's fraud desk, a person in the PSP's dashboard.

    POST /v1/control/payments/{id}/{action}      action: one of PAYMENT_ACTIONS
    POST /v1/control/refunds/{id}                {"result": "succeed" | "fail" | "fail_late" |
                                                  "cancel"}
    POST /v1/control/disputes/{id}               {"result": one of disputes.RESULTS, "lost_minor"}
    POST /v1/control/methods/{id}                {"mandate_status": "active" | ...}
    POST /v1/control/payouts/{id}/fail

They leave the same marks as the real thing: movement, version, event. No chaos switch touches them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from payments.providers.sandbox.service import (
    bank_returns,
    captures,
    disputes,
    holds,
    lifecycle,
    methods,
    refunds,
    settlements,
)
from payments.providers.sandbox.service.desk import Declined, Desk, conflict
from payments.providers.sandbox.service.orders import (
    read_amount,
    read_cancel,
    read_capture,
    read_refund,
    required_amount,
)
from payments.providers.sandbox.service.wire import Refusal, Request, Response

if TYPE_CHECKING:
    from payments.providers.sandbox.service.application import Sandbox

Body = Mapping[str, Any]
Action = Callable[[Desk, dict[str, Any], Body], Mapping[str, Any] | Declined]


def routes(sandbox: Sandbox) -> list[tuple[str, str, Callable[..., Response]]]:
    """This module's part of the route table."""
    stage = Staging(sandbox)
    control = "/v1/control"
    return [
        ("POST", control + r"/payments/(?P<payment>\w{1,64})/(?P<action>\w{1,40})", stage.payment),
        ("POST", control + r"/refunds/(?P<part>\w{1,64})", stage.refund),
        ("POST", control + r"/disputes/(?P<part>\w{1,64})", stage.dispute),
        ("POST", control + r"/methods/(?P<method>\w{1,64})", stage.method),
        ("POST", control + r"/payouts/(?P<payout>\w{1,64})/fail", stage.fail_payout),
    ]


def _settle(desk: Desk, payment: dict[str, Any], body: Body) -> dict[str, Any]:
    captures.settle(desk, payment, "")
    return payment


def _expire(desk: Desk, payment: dict[str, Any], body: Body) -> dict[str, Any]:
    captures.expire(desk, payment)
    return payment


def _fail_capture(desk: Desk, payment: dict[str, Any], body: Body) -> dict[str, Any]:
    standing = [one for one in payment["captures"] if one["status"] == "succeeded"]
    if not standing:
        raise conflict(payment, "No capture stands.")
    captures.fail_late(desk, payment, standing[-1]["id"])
    return payment


def _finish_capture(desk: Desk, payment: dict[str, Any], body: Body) -> dict[str, Any]:
    results = {
        "succeed": "capture_succeeds",
        "refuse": "capture_is_refused",
        "lose_hold": "capture_loses_hold",
    }
    kind = results[_choice(body, "result", tuple(results))]
    for one in payment["captures"]:
        captures.finish(desk, payment, one["id"], kind=kind)
    return payment


def _open_dispute(desk: Desk, payment: dict[str, Any], body: Body) -> dict[str, Any]:
    return disputes.open_dispute(
        desk,
        payment,
        stage=_choice({"stage": "chargeback", **body}, "stage", disputes.STAGES),
        reason=str(body.get("reason", "fraudulent"))[:100],
        amount_minor=read_amount(body, optional=True),
    )


def _refund(desk: Desk, payment: dict[str, Any], body: Body) -> Mapping[str, Any] | Declined:
    wish = read_refund(body)
    return refunds.refund(desk, payment, **{**wish, "reference": ""}, source="dashboard")


def _capture(desk: Desk, payment: dict[str, Any], body: Body) -> Mapping[str, Any] | Declined:
    return captures.capture(desk, payment, **{**read_capture(body), "reference": ""})


PAYMENT_ACTIONS: dict[str, Action] = {
    "adjust": lambda desk, it, body: holds.adjust(desk, it, required_amount(body)),
    "expire": _expire,
    "capture": _capture,
    "finish_capture": _finish_capture,
    "fail_capture": _fail_capture,
    "cancel": lambda desk, it, body: lifecycle.cancel(desk, it, read_cancel(body)),
    "settle": _settle,
    "refund": _refund,
    "review": lambda desk, it, _: lifecycle.put_under_review(desk, it),
    "approve": lambda desk, it, _: lifecycle.end_review(desk, it, approved=True),
    "decline": lambda desk, it, _: lifecycle.end_review(desk, it, approved=False),
    "succeed_late": lambda desk, it, _: lifecycle.succeed_late(desk, it),
    "dispute": _open_dispute,
    "return": lambda desk, it, body: bank_returns.return_debit(
        desk, it, str(body.get("code", "R01"))[:10]
    ),
    "undo_return": lambda desk, it, _: bank_returns.undo(desk, it),
}


class Staging:
    """Handlers over one sandbox; each begins with the secret key."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def payment(self, request: Request, payment: str, action: str) -> Response:
        """Do one of PAYMENT_ACTIONS to a payment."""
        act = PAYMENT_ACTIONS.get(action)
        if act is None:
            message = f"There is no action {action!r}. There are: {', '.join(PAYMENT_ACTIONS)}."
            raise Refusal(404, "invalid_request", "not_found", message, param="action")
        account = self._sandbox.secret_account(request)
        return self._stage(
            request, lambda desk: act(desk, self._sandbox.load(account, payment), request.body)
        )

    def refund(self, request: Request, part: str) -> Response:
        """A refund has its result."""
        result = _choice(request.body, "result", ("succeed", "fail", "fail_late", "cancel"))
        account = self._sandbox.secret_account(request)

        def verb(desk: Desk) -> Mapping[str, Any]:
            payment = self._sandbox.load_of_part(account, "refund", part)
            return refunds.finish(desk, payment, part, result=result)

        return self._stage(request, verb)

    def dispute(self, request: Request, part: str) -> Response:
        """A dispute goes on or ends."""
        result = _choice(request.body, "result", disputes.RESULTS)
        lost = read_amount({"amount_minor": request.body.get("lost_minor")}, optional=True)
        account = self._sandbox.secret_account(request)

        def verb(desk: Desk) -> Mapping[str, Any]:
            payment = self._sandbox.load_of_part(account, "dispute", part)
            return disputes.resolve(desk, payment, part, result=result, lost_minor=lost)

        return self._stage(request, verb)

    def method(self, request: Request, method: str) -> Response:
        """The payer gives or takes back their mandate."""
        status = _choice(request.body, "mandate_status", methods.MANDATE_STATUSES)
        return self._stage(
            request, lambda desk: methods.change(desk, method, mandate_status=status)
        )

    def fail_payout(self, request: Request, payout: str) -> Response:
        """The bank sends a payout back."""
        account = self._sandbox.secret_account(request)
        if self._sandbox.books.load_document(account.id, "payout", payout) is None:
            message = f"There is no payout {payout}."
            raise Refusal(404, "invalid_request", "not_found", message, param="payout")
        return self._stage(request, lambda desk: settlements.fail(desk, payout))

    def _stage(
        self, request: Request, verb: Callable[[Desk], Mapping[str, Any] | Declined]
    ) -> Response:
        sandbox = self._sandbox
        desk = sandbox.desk(sandbox.secret_account(request), request.base_url)
        with sandbox.books.transaction():
            done = verb(desk)
        sandbox.deliveries.wake()
        body = done.part or done.payment if isinstance(done, Declined) else done
        return Response(status=200, body=body)


def _choice(body: Body, name: str, choices: tuple[str, ...]) -> str:
    value = body.get(name)
    if value not in choices:
        message = f"{name} must be one of {', '.join(choices)}."
        raise Refusal(400, "invalid_request", "invalid", message, param=name)
    return str(value)
