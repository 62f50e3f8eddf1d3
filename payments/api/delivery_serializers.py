"""Deliveries to merchants as data for validation and schema; see payments.api.serializers."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from payments.api.fields import ChoiceField, StrictSerializer, TextField

DELIVERY_STATUSES = ("pending", "retrying", "delivered", "dead", "discarded")
RECOVERABLE = ("failed", "missing")
ATTEMPT_OUTCOMES = ("started", "succeeded", "failed", "stale")


class RecoverDeliveriesBody(StrictSerializer):
    """From when on."""

    since = TextField(max_length=40, help_text="ISO 8601 with an offset or Z, at most 14 days ago.")
    include = serializers.ListField(
        child=ChoiceField(choices=RECOVERABLE),
        default=lambda: ["failed"],
        min_length=1,
        max_length=len(RECOVERABLE),
        help_text="`failed`: dead or discarded deliveries. `missing`: events of the types that the "
        "endpoint asks for now, which it was never promised.",
    )


class WebhookDeliveryObject(serializers.Serializer[Any]):
    """One event on its way to one endpoint."""

    id = serializers.CharField()
    object = serializers.CharField(help_text="Always `webhook_delivery`.")
    endpoint = serializers.CharField()
    event = serializers.CharField(help_text="The event's id, which is sent as `webhook-id`.")
    event_type = serializers.CharField()
    status = serializers.ChoiceField(choices=DELIVERY_STATUSES)
    attempts = serializers.IntegerField(help_text="Requests of the current schedule that ended.")
    reason = serializers.CharField(allow_null=True)
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


class WebhookDeliveryAttemptObject(serializers.Serializer[Any]):
    """One request to the endpoint."""

    number = serializers.IntegerField()
    started_at = serializers.DateTimeField()
    outcome = serializers.ChoiceField(choices=ATTEMPT_OUTCOMES)
    response_status = serializers.IntegerField(allow_null=True)
    duration_ms = serializers.IntegerField(allow_null=True)
    response_body = serializers.CharField(help_text="The first 16 kB.")
    error = serializers.CharField(allow_null=True)


class WebhookDeliveryWithAttemptsObject(WebhookDeliveryObject):
    """A delivery with its last hundred requests, the newest first."""

    attempt_log = WebhookDeliveryAttemptObject(many=True)


class WebhookRecoveryObject(serializers.Serializer[Any]):
    """How much is sent again."""

    object = serializers.CharField(help_text="Always `webhook_recovery`.")
    endpoint = serializers.CharField()
    recovered = serializers.IntegerField(help_text="At most 1,000 in one call.")
    missing = serializers.IntegerField(help_text="How many of these had never been promised.")
    has_more = serializers.BooleanField(help_text="Whether another call would find some.")
