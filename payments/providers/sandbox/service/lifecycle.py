"""How a payment at the sandbox PSP begins and ends: create, confirm, authenticate, review, cancel.

    open ──confirm──► requires_action ──authenticated──┐
      │ ╲                                              ▼
      │  ╲──confirm (bank)──► processing ──result──► authorized ──► ... (`captures`)
      │   ╲─(fraud desk)───► under_review ──approved──┘ │
      │                            ╰──declined──► failed│
      ▼                                                 │
    canceled ◄──────────────── cancel ──────────────────┘        (a refusal: declined, payable)

What comes after captured is in `captures`, `refunds`, `disputes` and `bank_returns`. Each function
runs inside one transaction and ends every change it makes with `desk.changed`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from payments.providers.sandbox.service import captures, holds
from payments.providers.sandbox.service.behaviour import Instrument
from payments.providers.sandbox.service.desk import (
    Desk,
    changed,
    instrument_of,
    moment,
    new_id,
    reason_of,
    require,
    schedule,
)
from payments.providers.sandbox.service.methods import chargeable

PAYABLE = frozenset({"open", "declined"})
CANCELABLE = frozenset(
    {
        "open", "declined", "requires_action", "under_review", "authorized", "capture_pending",
        "partially_captured", "captured",
    }
)  # fmt: skip
ENDED_WITHOUT_MONEY = frozenset({"open", "declined", "canceled", "failed"})


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
        "amount_authorized_minor": 0,
        "amount_capturable_minor": 0,
        "amount_captured_minor": 0,
        "amount_settled_minor": 0,
        "amount_refunded_minor": 0,
        "amount_returned_minor": 0,
        "return_code": None,
        "reference": order["reference"],
        "description": order["description"],
        "client_secret": f"{payment_id}_secret_{secrets.token_hex(12)}",
        "customer": order["customer"] or None,
        "off_session": order["off_session"],
        "attempt": 0,
        "token": order["token"] or None,
        "instrument": None,
        "method": None,
        "charge": None,
        "return_url": order["return_url"] or None,
        "next_action": None,
        "decline": None,
        "capture_error": None,
        "expires_at": None,
        "fee_minor": None,
        "fee_currency": None,
        "settled": False,
        "available_at": None,
        "cancellation_reason": None,
        "captures": [],
        "refunds": [],
        "disputes": [],
        "created_at": moment(desk.account.now()),
        "livemode": False,
    }
    changed(desk, payment, "payment.created")
    return payment


def confirm(
    desk: Desk, payment: dict[str, Any], *, token: str = "", return_url: str = ""
) -> dict[str, Any]:
    """Try to take the money with `token`, or with the token given at creation.

    Raises Refusal 400 without a token and 409 when the payment is not waiting for one.
    """
    require(payment, PAYABLE, "confirmed")
    token = token or payment["token"] or ""
    instrument, saved = chargeable(desk, token, payment["customer"] or "")
    payment["attempt"] += 1
    payment["token"] = token
    payment["instrument"] = instrument.name
    payment["return_url"] = return_url or payment["return_url"]
    payment["decline"] = None
    payment["charge"] = new_id("sbc")
    payment["method"] = {
        "kind": instrument.kind,
        "brand": instrument.brand,
        "last4": instrument.last4,
    }
    if saved is not None and saved["mandate_status"] in {"pending", "inactive"}:
        _decline(desk, payment, "mandate_inactive")
    elif instrument.authentication and payment["off_session"] and payment["attempt"] == 1:
        # Only the first try is made without the payer; who confirms again has them there.
        _decline(desk, payment, "authentication_required")
    elif instrument.authentication:
        _ask_payer(desk, payment)
    elif instrument.review:
        put_under_review(desk, payment)
    elif instrument.asynchronous:
        payment["status"] = "processing"
        changed(desk, payment, "payment.processing")
        schedule(desk, payment, "bank_result", desk.account.get("bank_result_after_seconds"))
    else:
        _decide(desk, payment, instrument)
    return payment


def authenticate(desk: Desk, payment: dict[str, Any], *, passed: bool) -> dict[str, Any]:
    """The payer's 3-D Secure step ends."""
    require(payment, frozenset({"requires_action"}), "authenticated")
    payment["next_action"] = None
    if passed:
        _decide(desk, payment, instrument_of(payment))
    else:
        _decline(desk, payment, "authentication_failed")
    return payment


def bank_result(desk: Desk, payment: dict[str, Any]) -> None:
    """The bank has answered a debit that was processing."""
    if payment["status"] == "processing":
        _decide(desk, payment, instrument_of(payment))


def cancel(desk: Desk, payment: dict[str, Any], reason: str) -> dict[str, Any]:
    """End the payment: held money is released, captured money that is not settled taken back. Of a
    payment that was captured in part the rest is released and the captured part stands.

    Raises Refusal 409 when money is settled or was given back.
    """
    require(payment, CANCELABLE, "canceled")
    if payment["status"] == "partially_captured":
        captures.release_rest(desk, payment)
        return payment
    captures.void_all(desk, payment)
    holds.release(desk, payment)
    payment["status"] = "canceled"
    payment["next_action"] = None
    payment["cancellation_reason"] = reason
    changed(desk, payment, "payment.canceled")
    return payment


def put_under_review(desk: Desk, payment: dict[str, Any]) -> dict[str, Any]:
    """The fraud desk stops a payment, before it holds money or while it does."""
    require(payment, PAYABLE | {"authorized"}, "reviewed")
    payment["status"] = "under_review"
    changed(desk, payment, "payment.under_review")
    return payment


def end_review(desk: Desk, payment: dict[str, Any], *, approved: bool) -> dict[str, Any]:
    """The fraud desk has decided: the payment goes on, or is dead and what it held released."""
    require(payment, frozenset({"under_review"}), "decided")
    if not approved:
        holds.release(desk, payment)
        payment["status"] = "failed"
        payment["decline"] = reason_of("fraudulent")
        changed(desk, payment, "payment.failed")
    elif payment["amount_capturable_minor"]:
        payment["status"] = "authorized"
        changed(desk, payment, "payment.authorized")
    else:
        _decide(desk, payment, instrument_of(payment))
    return payment


def succeed_late(desk: Desk, payment: dict[str, Any]) -> dict[str, Any]:
    """Money arrives for a payment that had ended without it: a late answer of the payer's bank."""
    require(payment, ENDED_WITHOUT_MONEY, "paid late")
    payment["decline"] = None
    payment["instrument"] = payment["instrument"] or "tok_visa"
    payment["charge"] = payment["charge"] or new_id("sbc")
    holds.hold(desk, payment)
    if payment["capture"] == "manual":
        payment["status"] = "authorized"
        changed(desk, payment, "payment.authorized")
    else:
        captures.begin(desk, payment, amount_minor=payment["amount_minor"], final=True)
    return payment


def _ask_payer(desk: Desk, payment: dict[str, Any]) -> None:
    payment["status"] = "requires_action"
    query = f"client_secret={payment['client_secret']}"
    url = f"{desk.base_url}/v1/payments/{payment['id']}/authentication?{query}"
    payment["next_action"] = {"type": "redirect", "url": url}
    changed(desk, payment, "payment.requires_action")


def _decide(desk: Desk, payment: dict[str, Any], instrument: Instrument) -> None:
    """The issuer's answer, which hangs on the instrument alone."""
    automatic = payment["capture"] == "automatic"
    if instrument.decline is not None:
        _decline(desk, payment, instrument.decline.code)
        return
    if automatic and captures.behaviour_of(desk, payment) in {"refused", "hold_lost"}:
        _decline(desk, payment, "processing_error")
        return
    if instrument.answer == "amount":
        payment["amount_minor"] += 1
    if instrument.answer == "currency":
        payment["currency"] = "USD" if payment["currency"] != "USD" else "EUR"
    holds.hold(desk, payment)
    if instrument.answer == "status":
        payment["status"] = "under_inspection"
        changed(desk, payment, "payment.inspected")
    elif automatic:
        captures.begin(desk, payment, amount_minor=payment["amount_minor"], final=True)
    else:
        payment["status"] = "authorized"
        changed(desk, payment, "payment.authorized")


def _decline(desk: Desk, payment: dict[str, Any], code: str) -> None:
    payment["status"] = "declined"
    payment["decline"] = reason_of(code)
    changed(desk, payment, "payment.declined")
