"""What a merchant's server does with payments at the sandbox PSP (`/v1/payments/...`).

Each handler finds the account by its key, reads the body, and hands a verb to `Sandbox.change`,
which runs it once per idempotency key. Confirming is shared with the payer's browser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from payments.providers.sandbox.service import captures, holds, lifecycle, refunds
from payments.providers.sandbox.service.desk import Declined, Desk
from payments.providers.sandbox.service.orders import (
    read_cancel,
    read_capture,
    read_order,
    read_refund,
    required_amount,
)
from payments.providers.sandbox.service.payer_side import for_payer
from payments.providers.sandbox.service.wire import Refusal, Request, Response

if TYPE_CHECKING:
    from payments.providers.sandbox.service.application import Sandbox

PAYMENT = r"/v1/payments/(?P<payment>[A-Za-z0-9_]{1,64})"


def routes(sandbox: Sandbox) -> list[tuple[str, str, Callable[..., Response]]]:
    """This module's part of the route table."""
    side = MerchantSide(sandbox)
    return [
        ("POST", r"/v1/payments", side.create),
        ("GET", r"/v1/payments", side.search),
        ("GET", PAYMENT, side.fetch),
        ("POST", PAYMENT + r"/confirm", side.confirm),
        ("POST", PAYMENT + r"/capture", side.capture),
        ("POST", PAYMENT + r"/increment", side.increment),
        ("POST", PAYMENT + r"/cancel", side.cancel),
        ("POST", PAYMENT + r"/refunds", side.refund),
    ]


class MerchantSide:
    """Handlers over one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def create(self, request: Request) -> Response:
        """A new payment; with `confirm` and a token also try to take the money."""
        account = self._sandbox.secret_account(request)
        order = read_order(request.body)

        def verb(desk: Desk) -> Mapping[str, Any]:
            payment = lifecycle.create(desk, order)
            if order["confirm"]:
                lifecycle.confirm(desk, payment)
            return payment

        token = order["token"] if order["confirm"] else ""
        return self._sandbox.change(request, account, verb, token)

    def confirm(self, request: Request, payment: str) -> Response:
        """Try to take the money; by the merchant, or by the payer with the client secret."""
        by_payer = request.bearer.startswith("sbx_pk_")
        if by_payer:
            account, known = self._sandbox.payer_payment(request, payment)
        else:
            account = self._sandbox.secret_account(request)
            known = self._sandbox.load(account, payment)
        token, return_url = _confirmation(request)

        def verb(desk: Desk) -> Mapping[str, Any]:
            found = self._sandbox.load(account, payment)
            return lifecycle.confirm(desk, found, token=token, return_url=return_url)

        shown = for_payer if by_payer else dict
        token = token or known["token"] or ""
        return self._sandbox.change(request, account, verb, token, shown=shown)

    def capture(self, request: Request, payment: str) -> Response:
        """Take held money, all of it or a part; `final: false` keeps the rest capturable."""
        wish = read_capture(request.body)
        return self._change(request, payment, lambda desk, it: captures.capture(desk, it, **wish))

    def increment(self, request: Request, payment: str) -> Response:
        """Raise the held amount to `amount_minor`, the new total."""
        total = required_amount(request.body)
        return self._change(request, payment, lambda desk, it: holds.increment(desk, it, total))

    def cancel(self, request: Request, payment: str) -> Response:
        """End a payment: release what is held, void what is captured and not settled."""
        reason = read_cancel(request.body)
        return self._change(request, payment, lambda desk, it: lifecycle.cancel(desk, it, reason))

    def refund(self, request: Request, payment: str) -> Response:
        """Give captured money back, all that is left or a part."""
        wish = read_refund(request.body)
        return self._change(request, payment, lambda desk, it: refunds.refund(desk, it, **wish))

    def fetch(self, request: Request, payment: str) -> Response:
        """A payment as it stands; the payer sees less of it."""
        if request.bearer.startswith("sbx_pk_"):
            _, found = self._sandbox.payer_payment(request, payment)
            return Response(status=200, body=for_payer(found))
        account = self._sandbox.reading_account(request)
        return Response(status=200, body=self._sandbox.load(account, payment))

    def search(self, request: Request) -> Response:
        """Payments by the merchant's own id, of the payment or of a capture or refund of it."""
        account = self._sandbox.reading_account(request)
        reference = request.query.get("reference", "")
        if not reference:
            message = "Search by `reference`."
            raise Refusal(400, "invalid_request", "missing", message, param="reference")
        found = self._sandbox.books.payments_by_reference(account.id, reference)
        return Response(status=200, body={"object": "list", "data": found})

    def _change(
        self,
        request: Request,
        payment_id: str,
        verb: Callable[[Desk, dict[str, Any]], Mapping[str, Any] | Declined],
    ) -> Response:
        account = self._sandbox.secret_account(request)

        def on_payment(desk: Desk) -> Mapping[str, Any] | Declined:
            return verb(desk, self._sandbox.load(account, payment_id))

        return self._sandbox.change(request, account, on_payment)


def _confirmation(request: Request) -> tuple[str, str]:
    token, return_url = request.body.get("token", ""), request.body.get("return_url", "")
    if not isinstance(token, str) or not isinstance(return_url, str):
        message = "token and return_url must be strings."
        raise Refusal(400, "invalid_request", "invalid", message, param="token")
    return token, return_url
