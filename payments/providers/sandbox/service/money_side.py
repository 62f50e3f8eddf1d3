"""What a merchant's server does at the sandbox PSP beside payments: refunds and disputes by their
own ids, customers and saved methods, and what is settled and paid out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from payments.providers.sandbox.service import disputes, methods, settlements
from payments.providers.sandbox.service.desk import Desk, part_of
from payments.providers.sandbox.service.orders import read_customer, read_evidence, read_method
from payments.providers.sandbox.service.wire import Refusal, Request, Response, page_of

if TYPE_CHECKING:
    from payments.providers.sandbox.service.application import Sandbox

_DISPUTE = r"/v1/disputes/(?P<part>\w{1,64})"
_SETTLEMENT = r"/v1/settlements/(?P<settlement>\w{1,64})"


def routes(sandbox: Sandbox) -> list[tuple[str, str, Callable[..., Response]]]:
    """This module's part of the route table."""
    side = MoneySide(sandbox)
    return [
        ("GET", r"/v1/refunds/(?P<part>\w{1,64})", side.fetch_refund),
        ("GET", _DISPUTE, side.fetch_dispute),
        ("POST", _DISPUTE + r"/evidence", side.submit_evidence),
        ("POST", _DISPUTE + r"/accept", side.accept_dispute),
        ("POST", r"/v1/customers", side.add_customer),
        ("GET", r"/v1/customers/(?P<document>\w{1,64})", side.fetch_customer),
        ("POST", r"/v1/methods", side.save_method),
        ("GET", r"/v1/methods", side.search_methods),
        ("GET", r"/v1/methods/(?P<document>\w{1,64})", side.fetch_method),
        ("DELETE", r"/v1/methods/(?P<document>\w{1,64})", side.remove_method),
        ("GET", r"/v1/settlements", side.list_settlements),
        ("GET", _SETTLEMENT, side.fetch_settlement),
        ("GET", _SETTLEMENT + r"/items", side.list_items),
        ("GET", _SETTLEMENT + r"/report.csv", side.report),
        ("GET", r"/v1/payouts", side.list_payouts),
        ("GET", r"/v1/payouts/(?P<document>\w{1,64})", side.fetch_payout),
    ]


class MoneySide:
    """Handlers over one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    # --- refunds and disputes ---------------------------------------------------------------

    def fetch_refund(self, request: Request, part: str) -> Response:
        """A refund as it stands, with its payment."""
        return self._fetch_part(request, "refund", part)

    def fetch_dispute(self, request: Request, part: str) -> Response:
        """A dispute as it stands, with its payment."""
        return self._fetch_part(request, "dispute", part)

    def submit_evidence(self, request: Request, part: str) -> Response:
        """Answer a dispute with texts and files."""
        wish = read_evidence(request.body)
        return self._change_dispute(
            request, part, lambda desk, it: disputes.submit_evidence(desk, it, part, **wish)
        )

    def accept_dispute(self, request: Request, part: str) -> Response:
        """Give a dispute up."""
        return self._change_dispute(request, part, lambda desk, it: disputes.accept(desk, it, part))

    def _fetch_part(self, request: Request, kind: str, part_id: str) -> Response:
        account = self._sandbox.reading_account(request)
        payment = self._sandbox.load_of_part(account, kind, part_id)
        body = {**part_of(payment, kind, part_id), "payment": payment}
        return Response(status=200, body=body)

    def _change_dispute(
        self,
        request: Request,
        part_id: str,
        verb: Callable[[Desk, dict[str, Any]], Mapping[str, Any]],
    ) -> Response:
        account = self._sandbox.secret_account(request)

        def on_payment(desk: Desk) -> Mapping[str, Any]:
            return verb(desk, self._sandbox.load_of_part(account, "dispute", part_id))

        return self._sandbox.change(request, account, on_payment)

    # --- customers and saved methods --------------------------------------------------------

    def add_customer(self, request: Request) -> Response:
        """A new customer."""
        wish = read_customer(request.body)
        account = self._sandbox.secret_account(request)
        return self._sandbox.change(request, account, lambda desk: methods.add_customer(desk, wish))

    def fetch_customer(self, request: Request, document: str) -> Response:
        """A customer."""
        return self._fetch_document(request, "customer", document)

    def save_method(self, request: Request) -> Response:
        """Save a token, for a customer of ours or for a new one."""
        wish = read_method(request.body)
        account = self._sandbox.secret_account(request)
        return self._sandbox.change(
            request, account, lambda desk: methods.save(desk, wish), wish["token"]
        )

    def search_methods(self, request: Request) -> Response:
        """Saved methods by the merchant's own id of them."""
        account = self._sandbox.reading_account(request)
        reference = request.query.get("reference", "")
        found = self._sandbox.books.documents(account.id, "method", found_by=reference)
        return _list(found)

    def fetch_method(self, request: Request, document: str) -> Response:
        """A saved method, also one that was removed."""
        return self._fetch_document(request, "method", document)

    def remove_method(self, request: Request, document: str) -> Response:
        """Forget a saved method."""
        account = self._sandbox.secret_account(request)
        return self._sandbox.change(request, account, lambda desk: methods.remove(desk, document))

    # --- what is settled and paid out -------------------------------------------------------

    def list_settlements(self, request: Request) -> Response:
        """Settlements, the newest first."""
        account = self._sandbox.reading_account(request)
        return _list(self._sandbox.books.documents(account.id, "settlement"))

    def fetch_settlement(self, request: Request, settlement: str) -> Response:
        """One settlement."""
        return self._fetch_document(request, "settlement", settlement)

    def list_items(self, request: Request, settlement: str) -> Response:
        """The items of a settlement, in pages (`after`, `limit`)."""
        account = self._sandbox.reading_account(request)
        after, limit = page_of(request)
        desk = self._sandbox.desk(account)
        return _list(settlements.items(desk, settlement, after=after, limit=limit))

    def report(self, request: Request, settlement: str) -> Response:
        """All items of a settlement as a CSV file."""
        account = self._sandbox.reading_account(request)
        everything = settlements.items(
            self._sandbox.desk(account), settlement, after=0, limit=1_000_000
        )
        raw = settlements.report(everything)
        return Response(status=200, raw=raw, content_type="text/csv; charset=utf-8")

    def list_payouts(self, request: Request) -> Response:
        """Payouts, the newest first."""
        account = self._sandbox.reading_account(request)
        return _list(self._sandbox.books.documents(account.id, "payout"))

    def fetch_payout(self, request: Request, document: str) -> Response:
        """One payout."""
        return self._fetch_document(request, "payout", document)

    def _fetch_document(self, request: Request, kind: str, document_id: str) -> Response:
        account = self._sandbox.reading_account(request)
        found = self._sandbox.books.load_document(account.id, kind, document_id)
        if found is None:
            message = f"There is no {kind} {document_id}."
            raise Refusal(404, "invalid_request", "not_found", message, param=kind)
        return Response(status=200, body=found)


def _list(data: list[dict[str, Any]]) -> Response:
    return Response(status=200, body={"object": "list", "data": data})
