"""What requests about customers and saved payment methods hold, and what answers look like.

Mental model: as payments.api.serializers. The values that are personal are named in `PERSONAL`, so
that the views hand them on to be stored encrypted.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from payments.api.fields import MetadataField, StrictSerializer, TextField
from payments.api.pagination import moment
from payments.api.serializers import LastErrorObject
from payments.errors import FlorinError
from payments.models.customer import Mandate, MethodState

METHOD_STATUSES = [(state.value, state.value) for state in MethodState]
MANDATE_STATUSES = [(status, status) for status in Mandate.Status.values]
PERSONAL = frozenset({"email", "name", "mandate"})


class EmailField(TextField):
    """An e-mail address, by its form only: something, an @, something."""

    default_error_messages = {"not_email": "This has to be an e-mail address."}

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=254, **options)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data).strip()
        name, at, domain = text.rpartition("@")
        plain = text.isprintable() and " " not in text
        if text and not (name and at and domain and plain):
            self.fail("not_email")
        return text


class MomentField(TextField):
    """A moment: ISO 8601 with an offset or Z."""

    default_error_messages = {"not_moment": "A moment looks like 2026-11-20T12:00:00Z."}

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            return moment("accepted_at", text).isoformat()
        except FlorinError:
            self.fail("not_moment")


class AddressField(TextField):
    """An IP address, version 4 or 6."""

    default_error_messages = {"not_address": "This has to be an IP address."}

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            self.fail("not_address")


class CreateCustomerBody(StrictSerializer):
    """A new customer; everything may be left out."""

    email = EmailField(default="", allow_blank=True, help_text="Stored encrypted.")
    name = TextField(default="", allow_blank=True, max_length=200, help_text="Stored encrypted.")
    merchant_reference = TextField(
        default="",
        allow_blank=True,
        max_length=200,
        help_text="Your own customer number. One customer per reference and mode.",
    )
    metadata = MetadataField(default=dict, help_text="Up to 50 pairs of text of your own.")


class UpdateCustomerBody(StrictSerializer):
    """What is left out stays as it is; an empty text empties."""

    email = EmailField(required=False, allow_blank=True)
    name = TextField(required=False, allow_blank=True, max_length=200)
    merchant_reference = TextField(required=False, allow_blank=True, max_length=200)
    metadata = MetadataField(required=False, help_text="Replaces all that was there.")


class MandateBody(StrictSerializer):
    """How the payer agreed to be charged later, without being there."""

    accepted_at = MomentField(max_length=40, help_text="When, ISO 8601 with an offset or Z.")
    ip_address = AddressField(max_length=45, help_text="From where. Stored encrypted.")
    user_agent = TextField(max_length=500, help_text="With which browser. Stored encrypted.")

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise ValidationError("This has to be an object.", code="parameter_invalid")
        return super().to_internal_value(data)


class SavePaymentMethodBody(StrictSerializer):
    """A token of the provider's, to be charged later. Never a card number."""

    token = TextField(
        max_length=200, help_text="What the provider's own script made in the payer's browser."
    )
    mandate = MandateBody(
        required=False,
        allow_null=True,
        default=None,
        help_text="The payer's leave. A bank debit cannot be charged without.",
    )


class CustomerObject(serializers.Serializer[Any]):
    """A customer. Of a deleted one the id, the mode and the times are left."""

    id = serializers.CharField()
    object = serializers.CharField(help_text="Always `customer`.")
    livemode = serializers.BooleanField()
    email = serializers.CharField(allow_null=True)
    name = serializers.CharField(allow_null=True)
    merchant_reference = serializers.CharField(allow_null=True)
    metadata = serializers.DictField(child=serializers.CharField())
    deleted = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class MandateObject(serializers.Serializer[Any]):
    """The payer's leave to charge a saved payment method."""

    id = serializers.CharField()
    object = serializers.CharField(help_text="Always `mandate`.")
    payment_method = serializers.CharField()
    status = serializers.ChoiceField(choices=MANDATE_STATUSES)
    accepted_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)


class PaymentMethodObject(serializers.Serializer[Any]):
    """A saved payment method. Only an `active` one can be charged."""

    id = serializers.CharField()
    object = serializers.CharField(help_text="Always `payment_method`.")
    livemode = serializers.BooleanField()
    customer = serializers.CharField()
    status = serializers.ChoiceField(choices=METHOD_STATUSES)
    kind = serializers.CharField(allow_null=True, help_text="`card`, `bank_debit`, ...")
    brand = serializers.CharField(allow_null=True)
    last4 = serializers.CharField(allow_null=True)
    expiry_month = serializers.IntegerField(allow_null=True)
    expiry_year = serializers.IntegerField(allow_null=True)
    fingerprint = serializers.CharField(
        allow_null=True, help_text="The same for the same card, where the provider says so."
    )
    mandate = MandateObject(allow_null=True)
    provider = serializers.CharField()
    last_error = LastErrorObject(allow_null=True)
    created_at = serializers.DateTimeField()
    saved_at = serializers.DateTimeField(allow_null=True)
    failed_at = serializers.DateTimeField(allow_null=True)
    removed_at = serializers.DateTimeField(allow_null=True)
