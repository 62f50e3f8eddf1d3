"""What a provider posts: verified on raw bytes, stored once, answered; all else leaves no row."""

from __future__ import annotations

import gzip
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from django.test import Client
from standardwebhooks import Webhook

from audit.log import Actor
from payments.actions.provider_accounts import create_provider_account
from tests.payments.api.conftest import error_of
from tests.payments.shop import Shop
from webhooks.models import InboxEvent

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as HttpAnswer


@dataclass
class Sender:
    """The sandbox's side of its webhooks to one account."""

    shop: Shop

    @property
    def path(self) -> str:
        return f"/webhooks/sandbox/{self.shop.endpoint.token}"

    def event(self, payment_id: str) -> dict[str, Any]:
        """The first event the sandbox has about a payment."""
        reference = self.shop.provider_reference(payment_id)
        found = self.shop.sandbox("GET", f"/v1/events?payment={reference}")["data"][0]
        return {name: value for name, value in found.items() if name != "seq"}

    def headers(
        self, raw: bytes, *, secret: str = "", at: datetime | None = None
    ) -> dict[str, str]:
        """Signature headers, with the account's own secret unless another is given."""
        secret = secret or self.shop.webhook_secret
        moment, message = at or datetime.now(UTC), f"msg_{secrets.token_hex(8)}"
        return {
            "webhook-id": message,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": Webhook(secret).sign(message, moment, raw.decode("latin-1")),
        }

    def post(
        self, raw: bytes, headers: dict[str, str] | None = None, *, path: str = ""
    ) -> HttpAnswer:
        client = Client(raise_request_exception=False)
        answer: Any = client.generic(
            "POST",
            path or self.path,
            raw,
            content_type="application/json",
            headers=self.headers(raw) if headers is None else headers,
        )
        return answer

    def stored(self) -> int:
        """How many events the account's inbox has."""
        return InboxEvent.objects.filter(account_id=self.shop.account.pk).count()


@pytest.fixture
def sender(shop: Shop) -> Sender:
    return Sender(shop)


def test_an_event_is_stored_byte_for_byte_before_it_is_answered(sender: Sender) -> None:
    payment = sender.shop.created()
    raw = json.dumps(sender.event(payment.pk), indent=3).encode()
    answer = sender.post(raw)
    assert (answer.status_code, answer.content) == (200, b'{"received":true}')
    stored = InboxEvent.objects.get(account_id=sender.shop.account.pk)
    assert bytes(stored.raw) == raw
    assert stored.subject == sender.shop.provider_reference(payment.pk)
    assert "webhook-signature" in stored.headers


def test_an_event_applies_to_its_payment(sender: Sender) -> None:
    payment = sender.shop.created(payment_method="tok_500_after_commit")
    reference = sender.shop.sandbox("GET", f"/v1/movements?reference={payment.pk}")["data"][0]
    events = sender.shop.sandbox("GET", f"/v1/events?payment={reference['payment']}")["data"]
    for event in events:
        del event["seq"]
        assert sender.post(json.dumps(event).encode()).status_code == 200
    sender.shop.drain()
    assert sender.shop.payment(payment.pk).state == "captured"


def test_a_second_delivery_is_received_like_the_first(sender: Sender) -> None:
    raw = json.dumps(sender.event(sender.shop.created().pk)).encode()
    assert sender.post(raw).content == sender.post(raw).content
    sender.shop.drain()
    statuses = InboxEvent.objects.filter(account_id=sender.shop.account.pk)
    assert sorted(statuses.values_list("status", flat=True)) == ["duplicate", "superseded"]


@pytest.mark.parametrize(
    ("secret", "age", "changed"),
    [
        ("whsec_" + "A" * 32, timedelta(), False),
        ("", timedelta(minutes=10), False),
        ("", timedelta(minutes=-10), False),
        ("", timedelta(), True),
    ],
    ids=["forged", "old", "from the future", "changed on the way"],
)
def test_what_the_signature_does_not_hold_for_leaves_no_row(
    sender: Sender, secret: str, age: timedelta, changed: bool
) -> None:
    raw = json.dumps(sender.event(sender.shop.created().pk)).encode()
    headers = sender.headers(raw, secret=secret, at=datetime.now(UTC) - age)
    answer = sender.post(raw.replace(b"4200", b"4201") if changed else raw, headers)
    assert (answer.status_code, error_of(answer)["code"]) == (400, "signature_invalid")
    assert answer["Request-Id"] == error_of(answer)["request_id"]
    assert sender.stored() == 0


def test_without_any_signature_it_is_400(sender: Sender) -> None:
    answer = sender.post(b"{}", {})
    assert (answer.status_code, error_of(answer)["code"]) == (400, "signature_invalid")


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'{"id":"a","id":"b"}', b"\xff\xfe", b'{"type":5}', b"null"]
)
def test_a_signed_body_that_is_no_event_is_400(sender: Sender, raw: bytes) -> None:
    headers = sender.headers(b"")
    message = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + raw
    headers["webhook-signature"] = _sign(sender, message)
    answer = sender.post(raw, headers)
    assert (answer.status_code, error_of(answer)["code"]) == (400, "event_unreadable")
    assert sender.stored() == 0


def test_two_megabytes_are_413_before_anything_is_read(sender: Sender) -> None:
    answer = sender.post(b"x" * 2_000_000, {})
    assert (answer.status_code, error_of(answer)["code"]) == (413, "body_too_large")


def test_an_unknown_token_and_a_wrong_provider_are_the_same_404(sender: Sender) -> None:
    token = sender.shop.endpoint.token
    bodies = set()
    for path in (f"/webhooks/stripe/{token}", "/webhooks/sandbox/unknown", "/webhooks/none/x"):
        answer = sender.post(b"{}", path=path)
        error = error_of(answer)
        del error["request_id"]
        bodies.add((answer.status_code, json.dumps(error)))
    assert len(bodies) == 1
    assert bodies.pop()[0] == 404


def test_only_post_is_taken(sender: Sender) -> None:
    answer = Client().get(sender.path)
    assert (answer.status_code, answer["Allow"]) == (405, "POST")


def _sign(sender: Sender, message: bytes) -> str:
    """Standard Webhooks over bytes that are not text, which the library does not sign."""
    import base64
    import hashlib
    import hmac

    secret = sender.shop.webhook_secret
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize(
    "change",
    [
        lambda value: None,
        lambda value: "",
        lambda value: f"{value},{value}",  # what a server makes of a header that comes twice
        lambda value: "\xff\xfe",
        lambda value: "\u00b2\u00b3",
        lambda value: "9" * 5000,
        lambda value: "-1",
        lambda value: "1e9",
        lambda value: "v1,=",
        lambda value: "v1," + "A" * 7000,
    ],
    ids=[
        "missing",
        "empty",
        "doubled",
        "not text",
        "digits that are none",
        "very long number",
        "negative",
        "exponent",
        "no base64",
        "very long",
    ],
)
def test_headers_that_are_missing_doubled_or_odd_are_400_and_leave_no_row(
    sender: Sender, name: str, change: Callable[[str], str | None]
) -> None:
    raw = b'{"id":"sbe_1","type":"payment.captured","data":{}}'
    headers = sender.headers(raw)
    changed = change(headers.pop(name))
    answer = sender.post(raw, headers if changed is None else {**headers, name: changed})
    assert (answer.status_code, error_of(answer)["code"]) == (400, "signature_invalid")
    assert sender.stored() == 0


@pytest.mark.parametrize("odd", ["\xe9\xff", "\x7f", "a\tb", "x" * 8000])
def test_odd_headers_beside_a_signature_that_holds_keep_nothing_from_being_stored(
    sender: Sender, odd: str
) -> None:
    raw = json.dumps(sender.event(sender.shop.created().pk)).encode()
    answer = sender.post(raw, {**sender.headers(raw), "user-agent": odd, "content-encoding": odd})
    assert answer.status_code == 200
    assert sender.stored() == 1


def test_a_body_in_another_encoding_is_400_and_leaves_no_row(sender: Sender) -> None:
    text = json.dumps(sender.event(sender.shop.created().pk))
    for raw in (text.encode("utf-16"), text.encode("utf-32"), gzip.compress(text.encode())):
        headers = sender.headers(b"")
        message = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + raw
        answer = sender.post(raw, {**headers, "webhook-signature": _sign(sender, message)})
        assert (answer.status_code, error_of(answer)["code"]) == (400, "event_unreadable")
    assert sender.stored() == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda value: None,
        lambda value: "",
        lambda value: f"{value},{value}",
        lambda value: value.partition(",")[0],
        lambda value: value.partition(",")[2],
        lambda value: "t=" + "9" * 5000 + ",v1=00",
        lambda value: value.replace("t=", "t=-"),
        lambda value: "t=\u00b2,v1=00",
        lambda value: "\xff\xfe",
        lambda value: "=,=,,=",
    ],
)
def test_stripes_header_missing_doubled_or_odd_is_400_and_leaves_no_row(
    shop: Shop, change: Callable[[str], str | None]
) -> None:
    account = create_provider_account(
        provider="stripe",
        name="Stripe",
        livemode=False,
        merchant=shop.merchant,
        secret_key="sk_test_x",
        publishable_key="pk_test_x",
        webhook_secrets=["whsec_x"],
        api_base="https://api.stripe.com",
        actor=Actor(type="system", id="test"),
        now=datetime.now(UTC),
    )
    raw = b'{"id":"evt_1","object":"event","type":"x.y","created":1,"data":{"object":{}}}'
    signed = stripe.WebhookSignature.generate_signature_header(raw.decode(), "whsec_x")
    changed = change(signed)
    answer = Client(raise_request_exception=False).generic(
        "POST",
        f"/webhooks/stripe/{account.endpoints.get().token}",
        raw,
        content_type="application/json",
        headers={} if changed is None else {"stripe-signature": changed},
    )
    assert answer.status_code == 400
    assert not InboxEvent.objects.filter(account_id=account.pk).exists()
