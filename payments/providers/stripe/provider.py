"""Stripe behind the provider contract, through the official SDK over our transport.

One method per operation; what is sent and how an answer is read stands in the module of the
object: `intents`, `refunds`, `disputes`, `methods`. How an operation ends is in `call`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.conf import settings

from payments.providers.base import (
    CancelPayment,
    Capabilities,
    CapturePayment,
    ConfirmPayment,
    CreatePayment,
    Credentials,
    Notification,
    Observation,
    Result,
)
from payments.providers.objects import (
    IncrementAuthorization,
    RefundPayment,
    SaveMethod,
    SubmitEvidence,
)
from payments.providers.stripe import disputes, event_list, events, intents, methods, refunds
from payments.providers.stripe.amounts import MINIMUM_AMOUNT_MINOR
from payments.providers.stripe.call import API_VERSION, CODE, Call
from payments.providers.transport import MAXIMUM_LIST_BYTES

__all__ = ["API_VERSION", "CODE", "StripeProvider"]


class StripeProvider:
    """Fulfils `payments.providers.base.Provider`.

    `card_features` are those of `intents.CARD_FEATURES` that the accounts have by contract with
    Stripe; settings.FLORIN_STRIPE_CARD_FEATURES when not given. Raises ValueError for others.
    """

    code = CODE

    def __init__(self, card_features: frozenset[str] | None = None) -> None:
        if card_features is None:
            card_features = frozenset(settings.FLORIN_STRIPE_CARD_FEATURES)
        unknown = card_features - intents.CARD_FEATURES
        if unknown:
            known = ", ".join(sorted(intents.CARD_FEATURES))
            raise ValueError(f"Unknown card features: {', '.join(sorted(unknown))}; know {known}.")
        self._card_features = card_features
        self.capabilities = Capabilities(
            partial_capture=True,
            multiple_captures="multicapture" in card_features,
            incremental_authorization="incremental_authorization" in card_features,
            asynchronous_capture=True,
            refunds=True,
            partial_refund=True,
            asynchronous_refund=True,
            disputes=True,
            dispute_evidence=True,
            dispute_acceptance=True,
            saved_methods=True,
            off_session=True,
            bank_debits=True,
            fraud_review=True,
            event_list=True,
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
        """See `intents.create`."""
        operation = "create_and_confirm" if request.confirm else "create"
        call = Call(operation, credentials, idempotency_key, timeout_seconds)
        return call.run(lambda: intents.create(call, request, self._card_features))

    def confirm_payment(
        self,
        request: ConfirmPayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """See `intents.confirm`."""
        call = Call("confirm", credentials, idempotency_key, timeout_seconds)
        return call.run(lambda: intents.confirm(call, request))

    def capture_payment(
        self,
        request: CapturePayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """See `intents.capture`."""
        call = Call("capture", credentials, idempotency_key, timeout_seconds)
        return call.run(lambda: intents.capture(call, request))

    def cancel_payment(
        self,
        request: CancelPayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """See `intents.cancel`."""
        call = Call("cancel", credentials, idempotency_key, timeout_seconds)
        return call.run(lambda: intents.cancel(call, request))

    def increment_authorization(
        self,
        request: IncrementAuthorization,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """See `intents.increment`."""
        call = Call("increment", credentials, idempotency_key, timeout_seconds)
        return call.run(lambda: intents.increment(call, request))

    def refund_payment(
        self,
        request: RefundPayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """See `refunds.make`."""
        call = Call("refund", credentials, idempotency_key, timeout_seconds)
        return call.run(lambda: refunds.make(call, request))

    def submit_evidence(
        self,
        request: SubmitEvidence,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """See `disputes.submit`."""
        call = Call("submit_evidence", credentials, idempotency_key, timeout_seconds)
        return call.run(lambda: disputes.submit(call, request))

    def accept_dispute(
        self,
        provider_reference: str,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """See `disputes.accept`."""
        call = Call("accept_dispute", credentials, idempotency_key, timeout_seconds)
        return call.run(lambda: disputes.accept(call, provider_reference))

    def save_method(
        self,
        request: SaveMethod,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """See `methods.save`."""
        call = Call("save_method", credentials, idempotency_key, timeout_seconds)
        return call.run(lambda: methods.save(call, request))

    def remove_method(
        self,
        provider_reference: str,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """See `methods.remove`."""
        call = Call("remove_method", credentials, idempotency_key, timeout_seconds)
        return call.run(lambda: methods.remove(call, provider_reference))

    def fetch_payment(
        self,
        *,
        credentials: Credentials,
        timeout_seconds: float,
        provider_reference: str = "",
        our_reference: str = "",
    ) -> Result:
        """See `intents.fetch`."""
        call = Call("fetch", credentials, "", timeout_seconds)
        return call.run(
            lambda: intents.fetch(
                call, provider_reference=provider_reference, our_reference=our_reference
            )
        )

    def list_events(
        self,
        *,
        credentials: Credentials,
        timeout_seconds: float,
        since: datetime,
        cursor: str = "",
    ) -> Result:
        """See `event_list.page`."""
        call = Call(
            "list_events", credentials, "", timeout_seconds, maximum_bytes=MAXIMUM_LIST_BYTES
        )
        return call.run(lambda: event_list.page(call, since=since, cursor=cursor))

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
