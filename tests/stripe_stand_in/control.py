"""The tests' side: `POST /_control/{name}` with the secret key makes happen what a payer, a bank,
Radar or time does. Each function takes the account's vault and the form's fields.
"""

from __future__ import annotations

import copy

from tests.stripe_stand_in import disputes, holds, intents, money, refunds, reviews
from tests.stripe_stand_in.vault import Json, Refused, Vault


def _intent(vault: Vault, params: Json) -> Json:
    return vault.get(params["payment_intent"])


def _charge(vault: Vault, params: Json) -> Json:
    return vault.get(_intent(vault, params)["latest_charge"])


def authenticate(vault: Vault, params: Json) -> Json:
    """The payer passes or fails 3-D Secure."""
    try:
        intents.authenticate(vault, _intent(vault, params), passed=params["passed"] == "true")
    except Refused:
        return {"declined": True}
    return {}


def bank_answers(vault: Vault, params: Json) -> Json:
    """A bank debit that was processing comes to its result, or to `result`."""
    intent, charge = _intent(vault, params), _charge(vault, params)
    result = params.get("result") or vault.behaviours[charge["payment_method"]].bank_result
    if result == "fails":
        _fail_debit(vault, intent, charge)
        return {}
    intents.complete(vault, intent, charge)
    if result == "dispute":
        disputes.open_dispute(vault, charge, status="lost", reason="insufficient_funds")
    return {}


def _fail_debit(vault: Vault, intent: Json, charge: Json) -> None:
    error = {
        "type": "card_error",
        "code": "insufficient_funds",
        "message": "The customer's account has insufficient funds to cover this payment.",
        "charge": charge["id"],
        "payment_method": vault.show(vault.get(charge["payment_method"])),
    }
    charge.update(status="failed", paid=False, failure_code="insufficient_funds")
    intent.update(status="requires_payment_method", payment_method=None, last_payment_error=error)
    vault.emit("charge.failed", charge)
    vault.emit("payment_intent.payment_failed", intent)


def return_debit(vault: Vault, params: Json) -> Json:
    """The bank takes a debit back after it had succeeded: the charge fails and a failure balance
    transaction takes the money out.
    """
    charge = _charge(vault, params)
    failure = money.book(vault, "payment_failure_refund", charge, -charge["amount_captured"])
    charge.update(status="failed", paid=False, failure_balance_transaction=failure)
    charge["failure_code"] = params.get("failure_code", "account_closed")
    charge["outcome"]["network_decline_code"] = params.get("return_code") or None
    vault.emit("charge.failed", charge)
    return {}


def settle(vault: Vault, params: Json) -> Json:
    """Time passes until everything is available."""
    money.settle(vault)
    return {}


def expire(vault: Vault, params: Json) -> Json:
    """The authorization's time is over."""
    holds.expire(vault, _intent(vault, params))
    return {}


def finish_capture(vault: Vault, params: Json) -> Json:
    """A capture that was processing succeeds."""
    holds.finish_capture(vault, _intent(vault, params))
    return {}


def refund(vault: Vault, params: Json) -> Json:
    """A refund becomes `status`: succeeded, failed, canceled; without `refund` the newest does."""
    found = vault.get(params["refund"]) if "refund" in params else vault.all("refund")[-1]
    if params["status"] == "succeeded":
        refunds.succeed(vault, found)
    else:
        reason = params.get("reason", "expired_or_canceled_card")
        refunds.fail(vault, found, reason, status=params["status"])
    return {"id": found["id"]}


def dashboard_refund(vault: Vault, params: Json) -> Json:
    """Somebody refunds in Stripe's dashboard."""
    return refunds.create(vault, params)


def dispute(vault: Vault, params: Json) -> Json:
    """The payer's bank opens a dispute in `status`."""
    return disputes.open_dispute(
        vault,
        _charge(vault, params),
        status=params.get("status", "needs_response"),
        amount=int(params.get("amount", 0)),
        reason=params.get("reason", "fraudulent"),
    )


def decide(vault: Vault, params: Json) -> Json:
    """A dispute is won or lost, or an inquiry is over; `reinstated` of a loss in part. `status`
    makes it something else, without money moving.
    """
    found = vault.get(params["dispute"])
    if "status" in params:
        found["status"] = params["status"]
        vault.emit("charge.dispute.closed", found)
        return {}
    reinstated = int(params["reinstated"]) if "reinstated" in params else None
    disputes.decide(vault, found, won=params.get("won") == "true", reinstated=reinstated)
    return {}


def escalate(vault: Vault, params: Json) -> Json:
    """An inquiry becomes a chargeback."""
    disputes.escalate(vault, vault.get(params["dispute"]))
    return {}


def open_review(vault: Vault, params: Json) -> Json:
    """Somebody puts a payment into review by hand."""
    return reviews.open_review(vault, _intent(vault, params), reason="manual")


def close_review(vault: Vault, params: Json) -> Json:
    """The fraud desk decides: approved, or refunded_as_fraud and the like."""
    intent, reason = _intent(vault, params), params.get("reason", "approved")
    if reason == "canceled":
        holds.cancel(vault, intent, {"cancellation_reason": "fraudulent"})
    else:
        reviews.close_review(vault, intent, reason)
    return {}


def revoke_mandate(vault: Vault, params: Json) -> Json:
    """The payer takes a mandate back."""
    mandate = vault.get(params["mandate"])
    mandate["status"] = "inactive"
    vault.emit("mandate.updated", mandate)
    return {}


def payout(vault: Vault, params: Json) -> Json:
    """What is available is paid out; `finished` is "false" for one that is still on its way."""
    made = money.pay_out(vault, automatic=params.get("automatic", "true") == "true")
    if params.get("finished", "true") == "true":
        for one in made:
            money.finish_payout(vault, one)
    return {"data": [one["id"] for one in made]}


def card_features(vault: Vault, params: Json) -> Json:
    """What Stripe grants the account, separated by commas."""
    vault.card_features = set(filter(None, params.get("granted", "").split(",")))
    return {}


def events(vault: Vault, params: Json) -> Json:
    """Every event so far."""
    return {"data": copy.deepcopy(vault.events)}


def objects(vault: Vault, params: Json) -> Json:
    """Every object of a kind."""
    return {"data": copy.deepcopy(vault.all(params["kind"]))}


CONTROLS = {
    function.__name__: function
    for function in (
        authenticate, bank_answers, card_features, close_review, dashboard_refund, decide, dispute,
        escalate, events, expire, finish_capture, objects, open_review, payout, refund,
        return_debit, revoke_mandate, settle,
    )
}  # fmt: skip
