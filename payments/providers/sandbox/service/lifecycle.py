"""What happens to a payment at the sandbox PSP: create, confirm, authenticate, capture, cancel,
settle. Each function runs inside one transaction of the books, changes the document, writes the
money movement where there is one, and leaves exactly one event per change.

    open ──confirm──► requires_action ──authenticated──┐
      │ ╲                                              ▼
      │  ╲──confirm (bank)──► processing ──result──► authorized ──capture──► captured ──► settled
      ▼                                                │
    canceled ◄──────────────── cancel ─────────────────┘        (a refusal: declined, payable)
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from payments.providers.sandbox.service.accounts import Account
from payments.providers.sandbox.service.books import Books
from payments.providers.sandbox.service.delivery import Deliveries
from payments.providers.sandbox.service.instruments import BY_TOKEN, DECLINES, Decline, Instrument
from payments.providers.sandbox.service.wire import Refusal

PAYABLE = frozenset({"open", "declined"})
CANCELABLE = frozenset({"open", "declined", "requires_action", "authorized"})


@dataclass(frozen=True)
class Desk:
    """Where a change is worked on: the books, the account, the outgoing events, our address."""

    books: Books
    account: Account
    deliveries: Deliveries
    base_url: str


def new_id(prefix: str) -> str:
    """A fresh id; its first part rises with time, which keeps the index small."""
    return f"{prefix}_{time.time_ns() // 1_000_000:011x}{secrets.token_hex(7)}"


def moment(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def create(desk: Desk, order: Mapping[str, Any]) -> dict[str, Any]:
    """A new payment, open, from checked parameters."""
    payment_id = new_id("sbp")
    payment: dict[str, Any] = {
        "object": "payment",
        "id": payment_id,
        "version": 0,
        "status": "open",
        "amount_minor": order["amount_minor"],
        "currency": order["currency"],
        "capture": order["capture"],
        "amount_capturable_minor": 0,
        "amount_captured_minor": 0,
        "reference": order["reference"],
        "description": order["description"],
        "client_secret": f"{payment_id}_secret_{secrets.token_hex(12)}",
        "attempt": 0,
        "token": order["token"] or None,
        "method": None,
        "charge": None,
        "return_url": order["return_url"] or None,
        "next_action": None,
        "decline": None,
        "fee_minor": None,
        "fee_currency": None,
        "settled": False,
        "available_at": None,
        "cancellation_reason": None,
        "created_at": moment(desk.account.now()),
        "livemode": False,
    }
    _changed(desk, payment, "payment.created")
    return payment


def confirm(
    desk: Desk, payment: dict[str, Any], *, token: str = "", return_url: str = ""
) -> dict[str, Any]:
    """Try to take the money with `token`, or with the token given at creation.

    Raises Refusal 400 without a token and 409 when the payment is not waiting for one.
    """
    _require(payment, PAYABLE, "confirmed")
    token = token or payment["token"] or ""
    instrument = BY_TOKEN.get(token)
    if instrument is None:
        message = "Confirm with a token of the sandbox, for example tok_visa."
        code = "token_unknown" if token else "token_required"
        raise Refusal(400, "invalid_request", code, message, param="token")
    payment["attempt"] += 1
    payment["token"] = token
    payment["return_url"] = return_url or payment["return_url"]
    payment["decline"] = None
    payment["charge"] = new_id("sbc")
    payment["method"] = {
        "kind": instrument.kind,
        "brand": instrument.brand,
        "last4": instrument.last4,
    }
    if instrument.authentication:
        payment["status"] = "requires_action"
        query = f"client_secret={payment['client_secret']}"
        url = f"{desk.base_url}/v1/payments/{payment['id']}/authentication?{query}"
        payment["next_action"] = {"type": "redirect", "url": url}
        _changed(desk, payment, "payment.requires_action")
    elif instrument.asynchronous:
        payment["status"] = "processing"
        _changed(desk, payment, "payment.processing")
        schedule(desk, payment, "bank_result", desk.account.get("bank_result_after_seconds"))
    else:
        _decide(desk, payment, instrument)
    return payment


def authenticate(desk: Desk, payment: dict[str, Any], *, passed: bool) -> dict[str, Any]:
    """The payer's 3-D Secure step ends."""
    _require(payment, frozenset({"requires_action"}), "authenticated")
    payment["next_action"] = None
    if passed:
        _decide(desk, payment, BY_TOKEN[payment["token"]])
    else:
        _decline(desk, payment, DECLINES["authentication_failed"])
    return payment


def capture(desk: Desk, payment: dict[str, Any], amount_minor: int | None) -> dict[str, Any]:
    """Take the held money, all of it: this PSP captures in full only."""
    _require(payment, frozenset({"authorized"}), "captured")
    held = payment["amount_capturable_minor"]
    if amount_minor is not None and amount_minor != held:
        message = f"{held} is held and is captured in full; {amount_minor} was asked for."
        raise Refusal(
            400, "invalid_request", "amount_not_capturable", message, param="amount_minor"
        )
    _take(desk, payment)
    return payment


def cancel(desk: Desk, payment: dict[str, Any], reason: str) -> dict[str, Any]:
    """End the payment; held money is released."""
    _require(payment, CANCELABLE, "canceled")
    if payment["amount_capturable_minor"]:
        _move(desk, payment, "release", payment["amount_capturable_minor"])
    payment["status"] = "canceled"
    payment["amount_capturable_minor"] = 0
    payment["next_action"] = None
    payment["cancellation_reason"] = reason
    _changed(desk, payment, "payment.canceled")
    return payment


def bank_result(desk: Desk, payment: dict[str, Any]) -> None:
    """The bank has answered a debit that was processing."""
    if payment["status"] == "processing":
        _decide(desk, payment, BY_TOKEN[payment["token"]])


def settle(desk: Desk, payment: dict[str, Any]) -> None:
    """The captured money is available to the merchant from now on; the fee is certain."""
    if payment["settled"]:
        return
    _charge_fee(desk, payment)
    payment["settled"] = True
    payment["available_at"] = moment(desk.account.now())
    _changed(desk, payment, "payment.settled")


def schedule(desk: Desk, payment: Mapping[str, Any], kind: str, after_seconds: float) -> None:
    """Have `kind` happen to the payment later, by the account's clock."""
    due_at = desk.account.now() + after_seconds
    desk.books.run(
        "INSERT INTO jobs (account, payment, kind, due_at) VALUES (?, ?, ?, ?)",
        desk.account.id,
        payment["id"],
        kind,
        due_at,
    )
    desk.account.next_due_at = min(desk.account.next_due_at, due_at)


def _decide(desk: Desk, payment: dict[str, Any], instrument: Instrument) -> None:
    """The issuer's answer, which hangs on the instrument alone."""
    if instrument.decline is not None:
        _decline(desk, payment, instrument.decline)
        return
    if instrument.answer == "amount":
        payment["amount_minor"] += 1
    if instrument.answer == "currency":
        payment["currency"] = "USD" if payment["currency"] != "USD" else "EUR"
    payment["amount_capturable_minor"] = payment["amount_minor"]
    _move(desk, payment, "hold", payment["amount_minor"])
    if instrument.answer == "status":
        payment["status"] = "under_inspection"
        _changed(desk, payment, "payment.inspected")
    elif payment["capture"] == "manual":
        payment["status"] = "authorized"
        _changed(desk, payment, "payment.authorized")
    else:
        _take(desk, payment)


def _decline(desk: Desk, payment: dict[str, Any], decline: Decline) -> None:
    payment["status"] = "declined"
    payment["decline"] = {
        "code": decline.code,
        "message": decline.message,
        "advice": decline.advice,
    }
    _changed(desk, payment, "payment.declined")


def _take(desk: Desk, payment: dict[str, Any]) -> None:
    payment["status"] = "captured"
    payment["amount_captured_minor"] = payment["amount_capturable_minor"]
    payment["amount_capturable_minor"] = 0
    _move(desk, payment, "capture", payment["amount_captured_minor"])
    if desk.account.get("fee_known") == "capture":
        _charge_fee(desk, payment)
    _changed(desk, payment, "payment.captured")
    schedule(desk, payment, "settle", desk.account.get("settle_after_seconds"))


def _charge_fee(desk: Desk, payment: dict[str, Any]) -> None:
    """Basis points rounded half up, plus the fixed part; never more than the payment."""
    if payment["fee_minor"] is None:
        captured = payment["amount_captured_minor"]
        share = (captured * desk.account.get("fee_basis_points") + 5_000) // 10_000
        payment["fee_minor"] = min(captured, share + desk.account.get("fee_fixed_minor"))
        payment["fee_currency"] = payment["currency"]


def _require(payment: Mapping[str, Any], statuses: frozenset[str], verb: str) -> None:
    if payment["status"] not in statuses:
        message = f"A payment that is {payment['status']} cannot be {verb}."
        raise Refusal(409, "invalid_state", "unexpected_status", message, payment=dict(payment))


def _move(desk: Desk, payment: Mapping[str, Any], kind: str, amount_minor: int) -> None:
    desk.books.run(
        "INSERT INTO movements (id, account, payment, reference, kind, amount_minor, currency,"
        " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        new_id("sbm"),
        desk.account.id,
        payment["id"],
        payment["reference"],
        kind,
        amount_minor,
        payment["currency"],
        desk.account.now(),
    )


def _changed(desk: Desk, payment: dict[str, Any], event_type: str) -> None:
    """One change: the version rises, the document is saved, one event says so."""
    payment["version"] += 1
    desk.books.save_payment(desk.account.id, payment)
    desk.deliveries.emit(
        desk.account,
        {
            "object": "event",
            "id": new_id("sbe"),
            "type": event_type,
            "created_at": moment(desk.account.now()),
            "account": desk.account.id,
            "livemode": False,
            "data": {"payment": payment},
        },
    )
