"""News and answers as the sandbox gives them, but for what a test alters.

`tell` (test_contradictory_news) brings an altered document as a webhook. Here a document is also
the answer to whoever asks: `provider_says` puts a small server of the test in the sandbox's place.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from audit.log import Actor, acting_as
from payments.actions.provider_accounts import create_provider_account
from payments.actions.resolve_review import accept_provider
from payments.models import Payment
from tests.payments.shop import Shop
from tests.payments.test_reviews import decide
from webhooks.models import InboxEvent

Document = dict[str, Any]


def document_of(shop: Shop, payment: Payment) -> Document:
    """The payment as the sandbox has it now."""
    return shop.sandbox("GET", f"/v1/payments/{shop.provider_reference(payment.pk)}")


def unversioned(document: Document) -> Document:
    """The document as a provider tells it that counts neither versions nor tries."""
    parts = {
        name: [{**part, "version": 0} for part in document[name]]
        for name in ("refunds", "disputes")
    }
    return {**document, **parts, "version": 0, "attempt": 0}


def refund_in(document: Document, **changes: Any) -> Document:
    """A refund of the document's payment that was made at the provider."""
    return {
        "id": f"sbr_{document['id']}",
        "payment": document["id"],
        "status": "succeeded",
        "amount_minor": 700,
        "currency": "EUR",
        "reference": "",
        "reason": "",
        "version": 0,
        **changes,
    }


def dispute_in(document: Document, **changes: Any) -> Document:
    """A dispute over the document's whole payment, with the money withdrawn."""
    return {
        "id": f"sbd_{document['id']}",
        "payment": document["id"],
        "status": "needs_response",
        "stage": "chargeback",
        "amount_minor": 4200,
        "currency": "EUR",
        "reason": "fraudulent",
        "funds_withdrawn_minor": 4200,
        "fee_minor": 1500,
        "version": 0,
        **changes,
    }


@contextlib.contextmanager
def provider_says(shop: Shop, document: Mapping[str, Any]) -> Iterator[None]:
    """Answer every look-up of the shop's account with `document`, for the length of a `with`."""
    body = json.dumps(document).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        shop.change_account(api_base=f"http://127.0.0.1:{server.server_address[1]}")
        try:
            yield
        finally:
            shop.change_account(api_base="")
            server.shutdown()


def polled(shop: Shop, payment: Payment, document: Mapping[str, Any]) -> Payment:
    """Ask how the payment stands, and be told `document`."""
    with provider_says(shop, document):
        return shop.poll(payment.pk)


def accepted(shop: Shop, payment: Payment, **changes: Any) -> Payment:
    """A person ends the review with what the provider says: the sandbox's truth but for these."""
    with provider_says(shop, document_of(shop, payment) | changes):
        return decide(shop, accept_provider, payment)


def failures(shop: Shop) -> list[str]:
    """What went wrong while news was taken in. News is never lost to a crash: always empty."""
    failed = InboxEvent.objects.filter(account_id=shop.account.pk, failures__gt=0)
    return [event.error for event in failed]


def use_own_account(shop: Shop) -> None:
    """From now on the shop's payments go to an account that belongs to the merchant itself."""
    actor = Actor(type="system", id="test")
    with acting_as(actor):
        shop.account = create_provider_account(
            provider="sandbox",
            name="Alice's own",
            livemode=False,
            merchant=shop.merchant,
            secret_key=shop.sandbox_key,
            publishable_key="sbx_pk_unused",
            webhook_secrets=["whsec_unused"],
            api_base="",
            actor=actor,
            now=shop.now(),
            owned_by_merchant=True,
        )


def learn_nothing_of(shop: Shop, payment: Payment, *, days: int) -> None:
    """The provider is out of reach until the payment's open operation is given up."""
    shop.settings(outage=True)
    shop.ahead_by(days=days)
    shop.resume(payment.pk)
    shop.settings(outage=False)
