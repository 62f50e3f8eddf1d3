"""What a payer's browser does at the sandbox PSP: numbers to tokens, and the 3-D Secure step.

The payer has the publishable key and a payment's client secret, and sees of the payment what
concerns them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from payments.providers.sandbox.service import lifecycle, payer_page
from payments.providers.sandbox.service.accounts import Account
from payments.providers.sandbox.service.desk import Desk
from payments.providers.sandbox.service.instruments import BY_NUMBER
from payments.providers.sandbox.service.wire import Refusal, Request, Response

if TYPE_CHECKING:
    from payments.providers.sandbox.service.application import Sandbox

_STEP = r"/v1/payments/(?P<payment>[A-Za-z0-9_]{1,64})/authentication"
_SEEN_BY_PAYER = (
    "object", "id", "version", "status", "amount_minor", "currency", "capture",
    "amount_capturable_minor", "amount_captured_minor", "reference", "description",
    "client_secret", "attempt", "method", "charge", "return_url", "next_action", "decline",
    "cancellation_reason", "created_at", "livemode",
)  # fmt: skip


def routes(sandbox: Sandbox) -> list[tuple[str, str, Callable[..., Response]]]:
    """This module's part of the route table."""
    side = PayerSide(sandbox)
    return [
        ("GET", _STEP, side.payer_page),
        ("POST", _STEP, side.authenticate),
        ("POST", r"/v1/tokens", side.tokenise),
    ]


def for_payer(payment: Mapping[str, Any]) -> dict[str, Any]:
    """What the payer's browser may see of a payment."""
    return {name: payment[name] for name in _SEEN_BY_PAYER}


class PayerSide:
    """Handlers over one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def payer_page(self, request: Request, payment: str) -> Response:
        """The page of the 3-D Secure step."""
        account = self._account_of(payment)
        found = self._sandbox.with_client_secret(request, account, payment)
        return payer_page.challenge(found)

    def authenticate(self, request: Request, payment: str) -> Response:
        """The 3-D Secure step ends; by the payer (a form, or keys) or by a test."""
        sandbox = self._sandbox
        if request.bearer.startswith("sbx_sk_"):
            account = sandbox.secret_account(request)
        elif request.authorization:
            account, _ = sandbox.payer_payment(request, payment)
        else:
            account = self._account_of(payment)
            sandbox.with_client_secret(request, account, payment)
        result = request.body.get("result")
        if result not in {"succeed", "fail"}:
            message = "result must be succeed or fail."
            raise Refusal(400, "invalid_request", "invalid", message, param="result")

        def verb(desk: Desk) -> Mapping[str, Any]:
            found = sandbox.load(account, payment)
            return lifecycle.authenticate(desk, found, passed=result == "succeed")

        response = sandbox.change(request, account, verb, shown=for_payer)
        if not request.authorization:
            return payer_page.done(sandbox.load(account, payment))
        return response

    def tokenise(self, request: Request) -> Response:
        """A test number becomes its token; the number is not kept."""
        self._sandbox.accounts.with_publishable_key(request.bearer)
        number = str(request.body.get("number", "")).replace(" ", "")
        instrument = BY_NUMBER.get(number)
        if instrument is None:
            message = "Only the test numbers of the sandbox have tokens."
            raise Refusal(402, "declined", "number_unknown", message, param="number")
        body = {
            "object": "token",
            "id": instrument.name,
            "kind": instrument.kind,
            "brand": instrument.brand,
            "last4": instrument.last4,
        }
        return Response(status=200, body=body)

    def _account_of(self, payment_id: str) -> Account:
        row = self._sandbox.books.row("SELECT account FROM payments WHERE id = ?", payment_id)
        if row is None:
            raise Refusal(404, "invalid_request", "not_found", "There is no such payment.")
        return self._sandbox.accounts.by_id(row["account"])
