"""The operations on a PaymentIntent: what is sent, and what the answer means for the operation.

A refusal "because of its state" shows the PaymentIntent; where that already is where the operation
wanted to bring it, the operation has what it wanted (`payments.providers.outcomes`).

`card_features` are what Stripe grants an account by contract (docs.stripe.com/payments/multicapture
and /incremental-authorization): "multicapture", "incremental_authorization". They have to be asked
for when the payment is made, and an account that does not have them is refused when such a payment
is confirmed, "if available" or not. So they are asked for only where they are switched on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from payments.providers import fields
from payments.providers.base import (
    CancelPayment,
    CapturePayment,
    ConfirmPayment,
    CreatePayment,
    ObservedStatus,
    Outcome,
    PaymentSnapshot,
    Result,
)
from payments.providers.objects import DisputeSnapshot, IncrementAuthorization, RefundSnapshot
from payments.providers.outcomes import is_reached, outcome_of
from payments.providers.refusals import refusal
from payments.providers.stripe.amounts import to_stripe
from payments.providers.stripe.call import Call, Ended, Refused, Request, objects_of
from payments.providers.stripe.disputes import read_dispute
from payments.providers.stripe.refunds import read_refund
from payments.providers.stripe.snapshots import METADATA_KEY, expanded, read_snapshot

CARD_FEATURES = frozenset({"multicapture", "incremental_authorization"})

_EXPAND = ["latest_charge.balance_transaction"]
_FETCH_EXPAND = [*_EXPAND, "latest_charge.refunds"]
# A dispute carries its evidence, up to 150,000 characters of it.
_DISPUTES_PER_PAGE = 5

# What the shared table cannot say: at Stripe a cancel of what was captured in part is answered with
# a success, and a review does not stand in the way of holding more.
_MORE_OUTCOMES = {
    ("cancel", ObservedStatus.CAPTURED): Outcome.OK,
    ("increment", ObservedStatus.UNDER_REVIEW): Outcome.OK,
}


def create(call: Call, request: CreatePayment, card_features: frozenset[str]) -> Result:
    """Create a PaymentIntent, and confirm it when asked to.

    Without a return address a payment confirmed here cannot use methods that redirect the payer,
    and Stripe wants to be told so. An off-session payment is one that is confirmed here and now,
    with a saved method; a bank that wants its payer declines it with `authentication_required`
    (docs.stripe.com/payments/save-and-reuse).
    """
    params: dict[str, Any] = {
        "amount": to_stripe(request.amount_minor, request.currency),
        "currency": request.currency.lower(),
        "capture_method": request.capture_method,
        "metadata": {METADATA_KEY: request.reference},
        "expand": _EXPAND,
    }
    if request.capture_method == "manual" and card_features:
        wanted = {f"request_{feature}": "if_available" for feature in sorted(card_features)}
        params["payment_method_options"] = {"card": wanted}
    if request.customer_reference:
        params["customer"] = request.customer_reference
    if request.payment_method:
        params["payment_method"] = request.payment_method
    if request.description:
        params["description"] = request.description
    if request.confirm:
        params["confirm"] = True
        if request.off_session:
            params["off_session"] = True
        if request.return_url:
            params["return_url"] = request.return_url
        else:
            params["automatic_payment_methods"] = {"enabled": True, "allow_redirects": "never"}
    return _change(
        call, lambda v1, given, options: v1.payment_intents.create(given, options), params
    )


def confirm(call: Call, request: ConfirmPayment) -> Result:
    """Confirm with a payment method, or with the one attached before."""
    params: dict[str, Any] = {"expand": _EXPAND}
    if request.payment_method:
        params["payment_method"] = request.payment_method
    if request.return_url:
        params["return_url"] = request.return_url
    reference = request.provider_reference
    return _change(
        call,
        lambda v1, given, options: v1.payment_intents.confirm(reference, given, options),
        params,
    )


def capture(call: Call, request: CapturePayment) -> Result:
    """Take held money. A final capture is Stripe's default and releases what is left; any other
    needs a payment that was made for multicapture.
    """
    params: dict[str, Any] = {
        "amount_to_capture": to_stripe(request.amount_minor, request.currency),
        "expand": _EXPAND,
    }
    if not request.final:
        params["final_capture"] = False
    reference = request.provider_reference
    result = _change(
        call,
        lambda v1, given, options: v1.payment_intents.capture(reference, given, options),
        params,
        # What was captured before, of another amount, is not what was asked for.
        is_it=lambda found: found.amount_captured_minor == request.amount_minor,
    )
    snapshot = result.snapshot
    if result.outcome == Outcome.DECLINED and snapshot is not None:
        return replace(result, snapshot=replace(snapshot, capture_error=result.error))
    if request.final and snapshot and snapshot.status == ObservedStatus.PARTIALLY_CAPTURED:
        words = "The rest is still held after the final capture."
        error = refusal("provider_state_conflict", words, provider_code=snapshot.raw_status)
        return replace(result, outcome=Outcome.UNKNOWN, error=error)
    return result


def cancel(call: Call, request: CancelPayment) -> Result:
    """Cancel a PaymentIntent; Stripe knows our four reasons by the same names. What was captured
    of it stays captured, only the rest is released; where Stripe does not cancel such a payment,
    a final capture of nothing releases it (docs.stripe.com/payments/multicapture#charge-captured).
    """
    params = {"cancellation_reason": request.reason, "expand": _EXPAND}
    reference = request.provider_reference
    result = _change(
        call,
        lambda v1, given, options: v1.payment_intents.cancel(reference, given, options),
        params,
    )
    snapshot = result.snapshot
    partly = snapshot is not None and snapshot.status == ObservedStatus.PARTIALLY_CAPTURED
    if result.outcome != Outcome.DECLINED or not partly:
        return result
    return _change(
        call,
        lambda v1, given, options: v1.payment_intents.capture(reference, given, options),
        {"amount_to_capture": 0, "final_capture": True, "expand": _EXPAND},
        step="release",
    )


def increment(call: Call, request: IncrementAuthorization) -> Result:
    """Raise what is held to a new total. A card's bank may decline that; the hold as it was stays
    (docs.stripe.com/payments/incremental-authorization).
    """
    amount = to_stripe(request.amount_minor, request.currency)
    reference = request.provider_reference
    result = _change(
        call,
        lambda v1, given, options: v1.payment_intents.increment_authorization(
            reference, given, options
        ),
        {"amount": amount, "expand": _EXPAND},
    )
    snapshot = result.snapshot
    if result.outcome == Outcome.OK and snapshot and snapshot.amount_minor < request.amount_minor:
        words = "The authorization is still smaller than what was asked for."
        return replace(
            result, outcome=Outcome.UNKNOWN, error=refusal("provider_state_conflict", words)
        )
    return result


def fetch(call: Call, *, provider_reference: str, our_reference: str) -> Result:
    """By Stripe's id; else by ours in the metadata, through a search that lags by up to a minute,
    in bad times by an hour (docs.stripe.com/search#data-freshness).
    """
    if not provider_reference:
        found = _search(call, our_reference)
        if isinstance(found, Result):
            return found
        provider_reference = found
    intent = call.get(
        lambda v1, given, options: v1.payment_intents.retrieve(provider_reference, given, options),
        {"expand": _FETCH_EXPAND},
    )
    if isinstance(intent.get("review"), str):
        review = call.get(
            lambda v1, given, options: v1.reviews.retrieve(intent["review"], given, options),
            {},
            step="review",
        )
        intent = {**intent, "review": review}
    charge = expanded(intent, "latest_charge")
    snapshot = read_snapshot(
        intent,
        balance_transactions=_balance_transactions(call, charge),
        refunds=_refunds(call, provider_reference, charge),
        disputes=_disputes(call, provider_reference, charge),
    )
    return call.result(Outcome.OK, snapshot=snapshot)


def _search(call: Call, our_reference: str) -> str | Result:
    """The PaymentIntent that carries our payment id, or how the fetch ends without one."""
    quoted = our_reference.replace("\\", "\\\\").replace("'", "\\'")
    page = call.get(
        lambda v1, given, options: v1.payment_intents.search(given, options),
        {"query": f"metadata['{METADATA_KEY}']:'{quoted}'", "limit": 10},
    )
    found = objects_of(page)
    if not found:
        nothing = refusal("provider_not_found", "No PaymentIntent has this reference (yet).")
        return call.result(Outcome.DECLINED, error=nothing, not_found=True)
    if len(found) > 1:
        words = f"{len(found)} PaymentIntents have this reference; a person has to look."
        return call.result(Outcome.UNKNOWN, error=refusal("provider_reference_ambiguous", words))
    return fields.required_text(found[0], "id")


def _balance_transactions(call: Call, charge: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """All of a charge that may have several; None where the charge carries the only one."""
    card = fields.mapping(fields.mapping(charge, "payment_method_details"), "card")
    several = fields.mapping(card, "multicapture").get("status") == "available"
    if not several or not charge.get("balance_transaction"):
        return None
    return call.get_all(
        lambda v1, given, options: v1.balance_transactions.list(given, options),
        {"source": fields.required_text(charge, "id")},
        step="balance_transactions",
    )


def _refunds(
    call: Call, provider_reference: str, charge: Mapping[str, Any]
) -> tuple[RefundSnapshot, ...]:
    """Oldest first. The newest ten come with the charge (docs.stripe.com/expand#lists); more are
    asked for. Money that never moved has none, and nobody is asked.
    """
    if not _moved(charge):
        return ()
    carried = charge.get("refunds")
    found = call.get_all(
        lambda v1, given, options: v1.refunds.list(given, options),
        {"payment_intent": provider_reference},
        step="refunds",
        first_page=carried if isinstance(carried, Mapping) else None,
    )
    return tuple(read_refund(one) for one in reversed(found))


def _disputes(
    call: Call, provider_reference: str, charge: Mapping[str, Any]
) -> tuple[DisputeSnapshot, ...] | None:
    """Oldest first. Asked for whether the charge is marked as disputed or not: an inquiry need not
    mark it. None where the API is one without disputes, whose charges have no such mark at all.
    """
    if not _moved(charge):
        return ()
    if "disputed" not in charge:
        return None
    found = call.get_all(
        lambda v1, given, options: v1.disputes.list(given, options),
        {"payment_intent": provider_reference},
        step="disputes",
        limit=_DISPUTES_PER_PAGE,
    )
    return tuple(read_dispute(one) for one in reversed(found))


def _moved(charge: Mapping[str, Any]) -> bool:
    """Whether a charge ever took money, so that it can have refunds and disputes."""
    return bool(charge.get("amount_captured")) or charge.get("captured") is True


def _change(
    call: Call,
    request: Request,
    params: Mapping[str, Any],
    *,
    is_it: Callable[[PaymentSnapshot], bool] = lambda found: True,
    step: str = "",
) -> Result:
    """Send the operation's one request and say what the PaymentIntent's state means for it. `is_it`
    looks more closely at a PaymentIntent that refuses and seems to be where it was to go.
    """
    try:
        intent = call.post(request, params, step=step)
    except Refused as refused:
        return _refusal(call, refused, is_it)
    snapshot = read_snapshot(_with_review(call, intent))
    answered = outcome_of(call.operation, snapshot)
    outcome = _MORE_OUTCOMES.get((call.operation, snapshot.status), answered)
    error = snapshot.error if outcome == Outcome.DECLINED else None
    if error is None and outcome in {Outcome.DECLINED, Outcome.UNKNOWN}:
        words = f"The payment is {snapshot.raw_status} after {call.operation}."
        error = refusal("provider_state_conflict", words, provider_code=snapshot.raw_status)
    return call.result(outcome, snapshot=snapshot, error=error)


def _refusal(call: Call, refused: Refused, is_it: Callable[[PaymentSnapshot], bool]) -> Result:
    intent = fields.mapping(refused.error, "payment_intent")
    snapshot = read_snapshot(intent) if intent else None
    conflict = refused.translated.code == "provider_state_conflict"
    may_be = conflict and call.operation != "increment"
    if may_be and snapshot and is_reached(call.operation, snapshot) and is_it(snapshot):
        outcome = outcome_of(call.operation, snapshot)
        return Result(outcome=outcome, exchange=refused.exchange, snapshot=snapshot)
    return call.declined(refused, snapshot=snapshot)


def _with_review(call: Call, intent: Mapping[str, Any]) -> Mapping[str, Any]:
    """The PaymentIntent with its review's object, where that decides what it means. The operation
    is done; a review that cannot be read now counts as open until a fetch tells.
    """
    review = intent.get("review")
    if not isinstance(review, str) or intent.get("status") != "requires_capture":
        return intent
    try:
        found = call.get(
            lambda v1, given, options: v1.reviews.retrieve(review, given, options),
            {},
            step="review",
        )
    except (Ended, Refused):
        return intent
    return {**intent, "review": found}
