"""Stripe behind the provider contract: PaymentIntents through the official SDK.

Every call names its key, its API base, its version, its idempotency key and its deadline; nothing
is taken from the SDK's globals and the SDK never retries. How an answer ends a call:

    2xx                         by the PaymentIntent's status (`payments.providers.outcomes`)
    402, or a declining code    DECLINED, with the PaymentIntent
    401 403 429                 NOT_SENT: refused before Stripe looks at the idempotency key
    409 idempotency_key_in_use  UNKNOWN with `idempotency_conflict`
    400 idempotency_error       UNKNOWN: the key was used with other parameters
    400 unexpected state        what the PaymentIntent's status means for the call, else DECLINED
    other 400 and 404           DECLINED: refused, nothing was done
    5xx, unreadable, none       UNKNOWN. Stripe stores a 500 under its key and replays it, so only
                                a fetch can tell
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import stripe
from django.conf import settings

from payments.providers import fields
from payments.providers.base import (
    CancelPayment,
    Capabilities,
    CapturePayment,
    ConfirmPayment,
    CreatePayment,
    Credentials,
    Exchange,
    Notification,
    Observation,
    Outcome,
    ProviderError,
    Result,
)
from payments.providers.bulkhead import account_key
from payments.providers.outcomes import is_reached, outcome_of
from payments.providers.refusals import refusal
from payments.providers.strict_json import read_object
from payments.providers.stripe import events
from payments.providers.stripe.amounts import (
    MINIMUM_AMOUNT_MINOR,
    AmountNotExpressible,
    to_stripe,
)
from payments.providers.stripe.connection import OneCall
from payments.providers.stripe.errors import translate
from payments.providers.stripe.snapshots import METADATA_KEY, read_snapshot
from payments.providers.transport import NotSent

CODE = "stripe"

# The version whose shapes `snapshots` and `events` read. Raising it is a change to be tested.
API_VERSION = "2026-10-28.endive"

_EXPAND = ["latest_charge.balance_transaction"]

# What may be written into the audit trail of a request or an answer.
_SHOWN = frozenset(
    {
        "id", "object", "status", "amount", "amount_capturable", "amount_received", "currency",
        "capture_method", "confirm", "metadata", "payment_method", "latest_charge",
        "cancellation_reason", "amount_to_capture", "created", "livemode", "query", "balance",
    }
)  # fmt: skip


class StripeProvider:
    """Fulfils `payments.providers.base.Provider`."""

    code = CODE
    capabilities = Capabilities(
        idempotency_key_lifetime_seconds=86_400,
        minimum_amount_minor=MINIMUM_AMOUNT_MINOR,
    )

    def create_payment(
        self,
        request: CreatePayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Create a PaymentIntent, and confirm it when asked to.

        Without a return address a payment confirmed here cannot use methods that redirect the
        payer, and Stripe wants to be told so.
        """
        operation = "create_and_confirm" if request.confirm else "create"
        call = _Call(operation, credentials, idempotency_key, timeout_seconds)
        try:
            amount = to_stripe(request.amount_minor, request.currency)
        except AmountNotExpressible as error:
            return call.refuse_amount(str(error))
        params: dict[str, Any] = {
            "amount": amount,
            "currency": request.currency.lower(),
            "capture_method": request.capture_method,
            "metadata": {METADATA_KEY: request.reference},
            "expand": _EXPAND,
        }
        if request.payment_method:
            params["payment_method"] = request.payment_method
        if request.description:
            params["description"] = request.description
        if request.confirm:
            params["confirm"] = True
            if request.return_url:
                params["return_url"] = request.return_url
            else:
                params["automatic_payment_methods"] = {"enabled": True, "allow_redirects": "never"}
        return call.make(params, lambda intents, options: intents.create(params, options))

    def confirm_payment(
        self,
        request: ConfirmPayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Confirm with a payment method, or with the one attached before."""
        params: dict[str, Any] = {"expand": _EXPAND}
        if request.payment_method:
            params["payment_method"] = request.payment_method
        if request.return_url:
            params["return_url"] = request.return_url
        call = _Call("confirm", credentials, idempotency_key, timeout_seconds)
        reference = request.provider_reference
        return call.make(
            params, lambda intents, options: intents.confirm(reference, params, options)
        )

    def capture_payment(
        self,
        request: CapturePayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Take the amount of a held PaymentIntent; what is left of it is released."""
        call = _Call("capture", credentials, idempotency_key, timeout_seconds)
        try:
            amount = to_stripe(request.amount_minor, request.currency)
        except AmountNotExpressible as error:
            return call.refuse_amount(str(error))
        params = {"amount_to_capture": amount, "expand": _EXPAND}
        reference = request.provider_reference
        return call.make(
            params, lambda intents, options: intents.capture(reference, params, options)
        )

    def cancel_payment(
        self,
        request: CancelPayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Cancel a PaymentIntent; Stripe knows our four reasons by the same names."""
        params = {"cancellation_reason": request.reason, "expand": _EXPAND}
        call = _Call("cancel", credentials, idempotency_key, timeout_seconds)
        reference = request.provider_reference
        return call.make(
            params, lambda intents, options: intents.cancel(reference, params, options)
        )

    def fetch_payment(
        self,
        *,
        credentials: Credentials,
        timeout_seconds: float,
        provider_reference: str = "",
        our_reference: str = "",
    ) -> Result:
        """By Stripe's id; else by ours in the metadata, through a search that lags by up to a
        minute, in bad times by an hour (docs.stripe.com/search#data-freshness).
        """
        call = _Call("fetch", credentials, "", timeout_seconds)
        if provider_reference:
            params: dict[str, Any] = {"expand": _EXPAND}
            return call.make(
                params,
                lambda intents, options: intents.retrieve(provider_reference, params, options),
            )
        quoted = our_reference.replace("\\", "\\\\").replace("'", "\\'")
        params = {
            "query": f"metadata['{METADATA_KEY}']:'{quoted}'",
            "limit": 10,
            "expand": [f"data.{path}" for path in _EXPAND],
        }
        return call.make(params, lambda intents, options: intents.search(params, options))

    def verify_webhook(
        self, raw: bytes, headers: Mapping[str, str], *, secrets: Sequence[str], now: datetime
    ) -> None:
        """See `events.verify`."""
        events.verify(raw, headers, secrets=secrets, now=now)

    def read_webhook(self, raw: bytes) -> Notification:
        """See `events.read_notification`."""
        return events.read_notification(raw)

    def observe_webhook(self, raw: bytes) -> Observation:
        """See `events.read_observation`."""
        return events.read_observation(raw)


class _Call:
    """One request through the SDK and the reading of its answer."""

    def __init__(
        self,
        operation: str,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> None:
        self._operation = operation
        base = (credentials.api_base or settings.FLORIN_STRIPE_API_BASE).rstrip("/")
        self._wire = OneCall(
            timeout_seconds=timeout_seconds,
            account_key=account_key(CODE, base, credentials.secret_key),
        )
        self._client = stripe.StripeClient(
            credentials.secret_key,
            base_addresses={"api": base},
            stripe_version=API_VERSION,
            max_network_retries=0,
            http_client=self._wire,
        )
        self._options: dict[str, Any] = {"max_network_retries": 0}
        if idempotency_key:
            self._options["idempotency_key"] = idempotency_key
        self._params: Mapping[str, Any] = {}

    def make(
        self, params: Mapping[str, Any], send: Callable[[Any, dict[str, Any]], object]
    ) -> Result:
        """Send and say how it ended; never raises for anything that Stripe does."""
        self._params = params
        try:
            send(self._client.v1.payment_intents, self._options)
        except stripe.StripeError as error:
            # The SDK has sorted the answer; what it was is read below from the wire itself.
            if self._wire.answer is None and self._wire.failure is None:
                return self._no_answer(NotSent(f"{type(error).__name__}: {error}"))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if self._wire.answer is None:
                raise
            return self._unreadable(f"{type(error).__name__}: {error}")
        if self._wire.failure is not None:
            return self._no_answer(self._wire.failure)
        try:
            return self._read()
        except ValueError as error:
            return self._unreadable(str(error))

    def refuse_amount(self, words: str) -> Result:
        """The amount has no number at Stripe: a definitive no, without asking."""
        error = refusal("provider_amount_refused", words, param="amount_minor")
        return Result(outcome=Outcome.DECLINED, exchange=self._exchange({}), error=error)

    def _read(self) -> Result:
        answer = self._wire.answer
        assert answer is not None, "Bug! neither an answer nor a failure"
        document = read_object(answer.body)
        exchange, status = self._exchange(document), answer.status
        if 200 <= status < 300:
            return self._read_success(document, exchange)
        error = fields.mapping(document, "error")
        message, code = fields.text(error, "message"), fields.text(error, "code")
        if status in {401, 403, 429} or code == "rate_limit":
            limited = status == 429 or code == "rate_limit"
            standard = "provider_rate_limited" if limited else "provider_credentials_refused"
            refused = refusal(standard, message, provider_code=code)
            return Result(outcome=Outcome.NOT_SENT, exchange=exchange, error=refused)
        if code == "idempotency_key_in_use" or (status == 409 and not code):
            in_use = refusal("provider_key_in_use", message, provider_code=code)
            return self._unknown(exchange, in_use, idempotency_conflict=True)
        if error.get("type") == "idempotency_error":
            reused = refusal("provider_key_reused", message, provider_code=code)
            return self._unknown(exchange, reused)
        if not error or status not in {400, 402, 404}:
            unclear = refusal("provider_error", message or f"HTTP {status}", provider_code=code)
            return self._unknown(exchange, unclear)
        return self._read_refusal(error, exchange)

    def _read_success(self, document: Mapping[str, Any], exchange: Exchange) -> Result:
        if document.get("object") == "search_result":
            return self._read_search(document, exchange)
        snapshot = read_snapshot(document)
        if self._operation == "fetch":
            return Result(outcome=Outcome.OK, exchange=exchange, snapshot=snapshot)
        outcome = outcome_of(self._operation, snapshot)
        error = snapshot.error if outcome == Outcome.DECLINED else None
        if error is None and outcome in {Outcome.DECLINED, Outcome.UNKNOWN}:
            words = f"The payment is {snapshot.raw_status} after {self._operation}."
            error = refusal("provider_state_conflict", words, provider_code=snapshot.raw_status)
        return Result(outcome=outcome, exchange=exchange, snapshot=snapshot, error=error)

    def _read_search(self, document: Mapping[str, Any], exchange: Exchange) -> Result:
        found = document.get("data")
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise fields.UnreadableObject("data is not a list of objects")
        if not found:
            nothing = refusal("provider_not_found", "No PaymentIntent has this reference (yet).")
            return Result(
                outcome=Outcome.DECLINED, exchange=exchange, error=nothing, not_found=True
            )
        if len(found) > 1:
            words = f"{len(found)} PaymentIntents have this reference; a person has to look."
            return self._unknown(exchange, refusal("provider_reference_ambiguous", words))
        snapshot = read_snapshot(found[0])
        return Result(outcome=Outcome.OK, exchange=exchange, snapshot=snapshot)

    def _read_refusal(self, error: Mapping[str, Any], exchange: Exchange) -> Result:
        refused = translate(error)
        intent = fields.mapping(error, "payment_intent")
        snapshot = read_snapshot(intent) if intent else None
        conflict = refused.code == "provider_state_conflict"
        if conflict and snapshot is not None and is_reached(self._operation, snapshot):
            outcome = outcome_of(self._operation, snapshot)
            return Result(outcome=outcome, exchange=exchange, snapshot=snapshot)
        return Result(
            outcome=Outcome.DECLINED,
            exchange=exchange,
            snapshot=snapshot,
            error=refused,
            not_found=self._operation == "fetch" and refused.code == "provider_not_found",
        )

    def _unknown(
        self, exchange: Exchange, error: ProviderError, *, idempotency_conflict: bool = False
    ) -> Result:
        return Result(
            outcome=Outcome.UNKNOWN,
            exchange=exchange,
            error=error,
            idempotency_conflict=idempotency_conflict,
        )

    def _no_answer(self, failure: Exception) -> Result:
        exchange = self._exchange({}, failure=str(failure))
        if isinstance(failure, NotSent):
            code = "provider_busy" if failure.busy else "provider_unreachable"
            error = refusal(code, str(failure))
            return Result(outcome=Outcome.NOT_SENT, exchange=exchange, error=error)
        return self._unknown(exchange, refusal("provider_answer_lost", str(failure)))

    def _unreadable(self, words: str) -> Result:
        words = f"The answer is unreadable: {words}."
        exchange = self._exchange({}, failure=words)
        return self._unknown(exchange, refusal("provider_answer_unreadable", words))

    def _exchange(self, document: Mapping[str, Any], *, failure: str = "") -> Exchange:
        answer = self._wire.answer
        error = document.get("error")
        response = _shown(document)
        if isinstance(error, dict):
            names = ("type", "code", "decline_code", "message", "param", "advice_code")
            response = {name: error.get(name) for name in names if error.get(name)}
            response["payment_intent"] = _shown(fields.mapping(error, "payment_intent"))
        lost_status = getattr(self._wire.failure, "http_status", None)
        return Exchange(
            operation=self._operation,
            method=self._wire.method,
            url=self._wire.url.partition("?")[0],
            request=_shown(self._params),
            http_status=answer.status if answer else lost_status,
            response=response,
            provider_request_id=answer.headers.get("request-id", "") if answer else "",
            duration_ms=answer.duration_ms if answer else 0,
            failure=failure,
        )


def _shown(document: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in document.items() if name in _SHOWN}
    charge = shown.get("latest_charge")
    if isinstance(charge, Mapping):
        shown["latest_charge"] = charge.get("id")
    return shown
