"""Every operation that a process may die in: what it needs, and how it must end.

Mental model: one row per kind of call. `prepare` makes the payment (or dispute, or customer) the
request is about and gives the request's parameters; `moved` is everything the provider may have
moved in the end, in order; `state` is where the payment then stands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from payments.models import Dispute, Payment
from tests.payments.shop import Shop, create_parameters

Parameters = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One operation; `status` is the answer's, `shown` the word its object has in `status`."""

    operation: str
    prepare: Callable[[Shop], Parameters]
    state: str
    moved: tuple[tuple[str, int], ...]
    shown: str
    status: int = 200


def _confirm(shop: Shop) -> Parameters:
    payment = shop.created(confirm=False, payment_method="")
    return {"payment": payment.pk, "payment_method": "tok_visa", "return_url": ""}


def _capture(shop: Shop) -> Parameters:
    return {"payment": _held(shop).pk, "amount_minor": None}


def _capture_part(shop: Shop) -> Parameters:
    return {"payment": _held(shop).pk, "amount_minor": 1000, "final_capture": False}


def _cancel(shop: Shop) -> Parameters:
    return {"payment": _held(shop).pk, "reason": ""}


def _void(shop: Shop) -> Parameters:
    return {"payment": shop.created().pk, "reason": ""}


def _increment(shop: Shop) -> Parameters:
    return {"payment": _held(shop).pk, "amount_minor": 5000}


def _refund(shop: Shop) -> Parameters:
    return {
        "payment": _settled(shop).pk,
        "amount_minor": 1000,
        "reason": "",
        "metadata": {},
        "refund_platform_fee": False,
    }


def _evidence(shop: Shop) -> Parameters:
    words = {"uncategorized_text": "It was delivered."}
    return {"dispute": _disputed(shop).pk, "evidence": words}


def _accept(shop: Shop) -> Parameters:
    return {"dispute": _disputed(shop).pk}


def _held(shop: Shop) -> Payment:
    return shop.created(capture_method="manual")


def _settled(shop: Shop) -> Payment:
    payment = shop.created()
    shop.settings(dispute_fee_minor=0, dispute_decision_after_seconds=9000)
    shop.settle()
    shop.deliver_events()
    return payment


def _disputed(shop: Shop) -> Dispute:
    payment = _settled(shop)
    reference = shop.provider_reference(payment.pk)
    shop.sandbox("POST", f"/v1/control/payments/{reference}/dispute", {})
    shop.deliver_events()
    return Dispute.objects.get(payment=payment)


_TAKEN = (("hold", 4200), ("capture", 4200))
CASES = {
    "create": Case(
        operation="payments.create",
        prepare=lambda shop: create_parameters(),
        state="captured",
        moved=_TAKEN,
        shown="captured",
        status=201,
    ),
    "confirm": Case(
        operation="payments.confirm",
        prepare=_confirm,
        state="captured",
        moved=_TAKEN,
        shown="captured",
    ),
    "capture": Case(
        operation="payments.capture",
        prepare=_capture,
        state="captured",
        moved=_TAKEN,
        shown="captured",
    ),
    "capture a part": Case(
        operation="payments.capture",
        prepare=_capture_part,
        state="partially_captured",
        moved=(("hold", 4200), ("capture", 1000)),
        shown="partially_captured",
    ),
    "cancel": Case(
        operation="payments.cancel",
        prepare=_cancel,
        state="canceled",
        moved=(("hold", 4200), ("release", 4200)),
        shown="canceled",
    ),
    "void a capture": Case(
        operation="payments.cancel",
        prepare=_void,
        state="canceled",
        moved=(*_TAKEN, ("void", 4200)),
        shown="canceled",
    ),
    "increment": Case(
        operation="payments.increment_authorization",
        prepare=_increment,
        state="authorized",
        moved=(("hold", 4200), ("hold", 800)),
        shown="authorized",
    ),
    "refund": Case(
        operation="refunds.create",
        prepare=_refund,
        state="settled",
        moved=(*_TAKEN, ("refund", 1000)),
        shown="succeeded",
        status=201,
    ),
    "submit evidence": Case(
        operation="disputes.submit_evidence",
        prepare=_evidence,
        state="disputed",
        moved=(*_TAKEN, ("dispute", 4200)),
        shown="submitted",
    ),
    "accept a dispute": Case(
        operation="disputes.accept",
        prepare=_accept,
        state="reversed",
        moved=(*_TAKEN, ("dispute", 4200)),
        shown="accepted",
    ),
}
