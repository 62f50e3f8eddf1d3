"""What requests hold and what answers look like, as data for validation and for the schema.

Mental model: the `...Body` classes validate (payments.api.fields does the checking) and document;
the `...Object` classes only document, because answers are made by payments.representation and
never pass through a serializer.
"""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from payments.api.fields import (
    AmountField,
    ChoiceField,
    CurrencyField,
    FlagField,
    MetadataField,
    StrictSerializer,
    TextField,
    WebAddressField,
    WholeNumberField,
)
from payments.models import Payment
from payments.states import State

CANCELLATION_REASONS = ("requested_by_customer", "abandoned", "duplicate", "fraudulent")
PAYMENT_STATUSES = [(state.value, state.value) for state in State]
ACCOUNT_OWNERS = ("merchant", "platform")
ENDPOINT_STATUSES = [("enabled", "enabled"), ("disabled", "disabled")]


class CreatePaymentBody(StrictSerializer):
    """A new payment; with `confirm` the money is asked for at once."""

    amount_minor = AmountField(help_text="The amount in the currency's minor units.")
    currency = CurrencyField(help_text="ISO 4217, in capitals.")
    capture_method = ChoiceField(
        choices=Payment.CaptureMethod.values,
        default="automatic",
        help_text="`manual` holds the money until you capture it.",
    )
    confirm = FlagField(default=False, help_text="Ask the provider for the money right away.")
    payment_method = TextField(
        default="",
        allow_blank=True,
        max_length=200,
        help_text=(
            "The provider's token for a payment method, or the id of one you have saved. Never a "
            "card number."
        ),
    )
    customer = TextField(
        default="", allow_blank=True, max_length=40, help_text="The customer who pays."
    )
    off_session = FlagField(
        default=False,
        help_text="Charge a saved payment method without the payer: nothing can be asked of them.",
    )
    return_url = WebAddressField(
        default="",
        allow_blank=True,
        max_length=2000,
        help_text="Where the payer comes back to after an authentication.",
    )
    description = TextField(default="", allow_blank=True, max_length=500)
    provider_account = TextField(
        default="",
        allow_blank=True,
        max_length=40,
        help_text="One of your provider accounts; the default one unless told.",
    )
    merchant_reference = TextField(
        default="",
        allow_blank=True,
        max_length=200,
        help_text="Your own order number. One payment per reference and mode.",
    )
    metadata = MetadataField(default=dict, help_text="Up to 50 pairs of text of your own.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["off_session"] and not attrs["confirm"]:
            raise serializers.ValidationError(
                {"off_session": ["Without the payer a payment is confirmed at once: add confirm."]}
            )
        if attrs["confirm"] and not attrs["payment_method"]:
            raise serializers.ValidationError(
                {"payment_method": ["A payment that is confirmed at once needs one."]}
            )
        return attrs


class ConfirmPaymentBody(StrictSerializer):
    """Ask for the money of a payment that was created without `confirm`."""

    payment_method = TextField(
        default="",
        allow_blank=True,
        max_length=200,
        help_text="The provider's token, or the id of a payment method the customer has saved.",
    )
    return_url = WebAddressField(default="", allow_blank=True, max_length=2000)


class CancelPaymentBody(StrictSerializer):
    """Give a payment up, or take an unsettled capture back where the provider can."""

    reason = ChoiceField(choices=CANCELLATION_REASONS, default="requested_by_customer")


class CreateWebhookEndpointBody(StrictSerializer):
    """An address of yours that gets signed events."""

    url = WebAddressField(max_length=2000)
    event_types = serializers.ListField(
        child=TextField(max_length=100),
        default=lambda: ["*"],
        min_length=1,
        max_length=100,
        help_text="Names like `payment.confirmed`, families like `payment.*`, or `*`.",
    )
    description = TextField(default="", allow_blank=True, max_length=500)


class UpdateWebhookEndpointBody(StrictSerializer):
    """What is left out stays as it is."""

    url = WebAddressField(required=False, max_length=2000)
    event_types = serializers.ListField(
        child=TextField(max_length=100), required=False, min_length=1, max_length=100
    )
    description = TextField(required=False, allow_blank=True, max_length=500)
    enabled = FlagField(required=False)


class RotateWebhookSecretBody(StrictSerializer):
    """How long the old secret goes on."""

    overlap_hours = WholeNumberField(
        least=0,
        most=168,
        required=False,
        help_text="Hours for which the old secret signs too, 24 by default; 0 ends it at once.",
    )


class NoParametersBody(StrictSerializer):
    """An empty object."""


class ProviderObject(serializers.Serializer[Any]):
    """Where the payment is processed."""

    name = serializers.CharField()
    reference = serializers.CharField(allow_null=True)
    publishable_key = serializers.CharField(
        allow_null=True, help_text="For the provider's own script in the payer's browser."
    )


class LastErrorObject(serializers.Serializer[Any]):
    """Why the last try did not succeed."""

    code = serializers.CharField()
    message = serializers.CharField()
    decline_code = serializers.CharField(allow_null=True, required=False)
    advice_code = serializers.CharField(allow_null=True, required=False)


class PaymentObject(serializers.Serializer[Any]):
    """A payment. Amounts are whole minor units of `currency`; times are UTC."""

    id = serializers.CharField()
    object = serializers.CharField(help_text="Always `payment`.")
    livemode = serializers.BooleanField()
    merchant = serializers.CharField()
    customer = serializers.JSONField(
        help_text="The id or null; the customer where `expand[]` names it."
    )
    status = serializers.ChoiceField(choices=PAYMENT_STATUSES)
    outcome = serializers.CharField(
        allow_null=True,
        help_text="`pending`, `unknown` or `not_sent` while the provider has not decided.",
    )
    amount_minor = serializers.IntegerField()
    currency = serializers.CharField()
    amount_authorized_minor = serializers.IntegerField()
    amount_capturable_minor = serializers.IntegerField()
    amount_captured_minor = serializers.IntegerField()
    amount_refund_pending_minor = serializers.IntegerField(help_text="Promised, on its way back.")
    amount_refunded_minor = serializers.IntegerField()
    amount_refundable_minor = serializers.IntegerField(help_text="Still can be given back.")
    amount_disputed_minor = serializers.IntegerField(help_text="Withdrawn for open disputes.")
    amount_reversed_minor = serializers.IntegerField(help_text="Lost in disputes or returned.")
    amount_settled_minor = serializers.IntegerField()
    platform_fee_minor = serializers.IntegerField()
    provider_fee_minor = serializers.IntegerField(allow_null=True)
    dispute_fee_minor = serializers.IntegerField()
    capture_method = serializers.ChoiceField(choices=Payment.CaptureMethod.values)
    description = serializers.CharField()
    merchant_reference = serializers.CharField(allow_null=True)
    metadata = serializers.DictField(child=serializers.CharField())
    return_url = serializers.CharField(allow_null=True)
    payment_method = serializers.DictField(allow_null=True)
    next_action = serializers.DictField(allow_null=True)
    last_error = LastErrorObject(allow_null=True)
    cancellation_reason = serializers.CharField(
        allow_null=True,
        help_text="As asked (`requested_by_customer`, `abandoned`, `duplicate`, `fraudulent`), "
        "`intent_expired` (nobody paid in time), `expired` (the hold ran out), "
        "`canceled_at_provider`, or the provider's own word.",
    )
    review_reason = serializers.CharField(allow_null=True)
    provider = ProviderObject()
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    authorized_at = serializers.DateTimeField(allow_null=True)
    captured_at = serializers.DateTimeField(allow_null=True)
    settled_at = serializers.DateTimeField(allow_null=True)
    canceled_at = serializers.DateTimeField(allow_null=True)
    failed_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(
        allow_null=True, help_text="Canceled then, unless it was paid."
    )
    capture_before = serializers.DateTimeField(
        allow_null=True, help_text="Held money is released then."
    )
    captures = serializers.JSONField(required=False, help_text="With `expand[]`.")
    refunds = serializers.JSONField(required=False, help_text="With `expand[]`.")
    disputes = serializers.JSONField(required=False, help_text="With `expand[]`.")


class PaymentWithSecretsObject(PaymentObject):
    """A payment as its merchant's server sees it, with the secrets for the payer's page."""

    client_secret = serializers.CharField(help_text="For `GET /v1/client/payments/{id}`.")
    provider_client_secret = serializers.CharField(
        allow_null=True, help_text="The provider's own secret for the payer's browser."
    )


class ClientPaymentObject(serializers.Serializer[Any]):
    """What the payer's page may know."""

    id = serializers.CharField()
    object = serializers.CharField(help_text="Always `payment`.")
    livemode = serializers.BooleanField()
    status = serializers.ChoiceField(choices=PAYMENT_STATUSES)
    amount_minor = serializers.IntegerField()
    currency = serializers.CharField()
    capture_method = serializers.ChoiceField(choices=Payment.CaptureMethod.values)
    description = serializers.CharField()
    return_url = serializers.CharField(allow_null=True)
    next_action = serializers.DictField(allow_null=True)
    last_error = LastErrorObject(allow_null=True)
    provider = ProviderObject()
    provider_client_secret = serializers.CharField(allow_null=True)
    stream_url = serializers.CharField(
        help_text="Where the same object is told live (docs/live-status.md)."
    )


class EventDataObject(serializers.Serializer[Any]):
    """What the event is about."""

    object = serializers.JSONField(help_text="The object as it was at that moment.")


class EventObject(serializers.Serializer[Any]):
    """Something that happened; webhooks have the same shape."""

    id = serializers.CharField()
    object = serializers.CharField(help_text="Always `event`.")
    type = serializers.CharField()
    api_version = serializers.CharField()
    created = serializers.DateTimeField()
    livemode = serializers.BooleanField()
    data = EventDataObject()  # type: ignore[assignment]


class CurrencyBalanceObject(serializers.Serializer[Any]):
    """The merchant's money in one currency, in minor units."""

    currency = serializers.CharField()
    pending_minor = serializers.IntegerField(help_text="Captured, not yet settled.")
    available_minor = serializers.IntegerField(help_text="Settled.")
    reserve_minor = serializers.IntegerField(help_text="Held back.")


class BalanceObject(serializers.Serializer[Any]):
    """The merchant's money, one entry per currency."""

    object = serializers.CharField(help_text="Always `balance`.")
    livemode = serializers.BooleanField()
    balances = CurrencyBalanceObject(many=True)


class WebhookEndpointObject(serializers.Serializer[Any]):
    """An address that gets events."""

    id = serializers.CharField()
    object = serializers.CharField(help_text="Always `webhook_endpoint`.")
    livemode = serializers.BooleanField()
    url = serializers.CharField()
    event_types = serializers.ListField(child=serializers.CharField())
    description = serializers.CharField()
    status = serializers.ChoiceField(choices=ENDPOINT_STATUSES)
    disabled_reason = serializers.CharField(allow_null=True)
    api_version = serializers.CharField()
    consecutive_failures = serializers.IntegerField()
    failing_since = serializers.DateTimeField(allow_null=True)
    last_success_at = serializers.DateTimeField(allow_null=True)
    success_ratio = serializers.FloatField(
        allow_null=True,
        min_value=0,
        max_value=1,
        help_text="How many of the requests of the last 24 hours succeeded, between 0 and 1; "
        "null when there were none.",
    )
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class WebhookEndpointWithSecretObject(WebhookEndpointObject):
    """As it is shown once, when it is made or its secret is rotated."""

    secret = serializers.CharField(
        required=False, help_text="Standard Webhooks secret, `whsec_...`. Shown once."
    )


class ProviderAccountObject(serializers.Serializer[Any]):
    """An account at a payment provider that payments may go through."""

    id = serializers.CharField()
    object = serializers.CharField(help_text="Always `provider_account`.")
    livemode = serializers.BooleanField()
    provider = serializers.CharField()
    name = serializers.CharField()
    owner = serializers.ChoiceField(
        choices=ACCOUNT_OWNERS, help_text="Whom the provider pays: you, or the platform."
    )
    active = serializers.BooleanField(help_text="Whether it takes new payments.")
    is_default = serializers.BooleanField(
        help_text="Whether it takes the payments that name no account."
    )
    publishable_key = serializers.CharField(
        allow_null=True, help_text="For the provider's own script in the payer's browser."
    )
    created_at = serializers.DateTimeField()


class DeletedObject(serializers.Serializer[Any]):
    """The object is gone."""

    id = serializers.CharField()
    object = serializers.CharField()
    deleted = serializers.BooleanField()


class ErrorMembers(serializers.Serializer[Any]):
    """What went wrong, for programs (`code`) and for people (`message`)."""

    type = serializers.CharField()
    code = serializers.CharField(help_text="Every code is explained at `doc_url`.")
    message = serializers.CharField()
    param = serializers.CharField(allow_null=True)
    decline_code = serializers.CharField(allow_null=True)
    advice_code = serializers.CharField(allow_null=True)
    doc_url = serializers.CharField()
    request_id = serializers.CharField()
    required_scope = serializers.CharField(
        required=False, help_text="What the restricted key lacks."
    )
    payment = serializers.JSONField(required=False)
    refund = serializers.JSONField(required=False)
    dispute = serializers.JSONField(required=False)


class ErrorObject(serializers.Serializer[Any]):
    """The one shape of every refusal."""

    error = ErrorMembers()
