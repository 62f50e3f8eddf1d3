"""What requests about a payment's parts hold and what answers look like: captures, refunds,
disputes, review cases.

Mental model: as payments.api.serializers.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from payments.api.fields import (
    AmountField,
    ChoiceField,
    FlagField,
    MetadataField,
    StrictSerializer,
    TextField,
)
from payments.api.serializers import LastErrorObject
from payments.errors import ErrorCode, FlorinError
from payments.machines import CaptureState, DisputeState, RefundState
from payments.models import Refund, ReviewCase
from payments.providers.objects import (
    EVIDENCE_FILE_FIELDS,
    EVIDENCE_TEXT_FIELDS,
    DisputeStage,
)

CAPTURE_STATUSES = [(state.value, state.value) for state in CaptureState]
REFUND_STATUSES = [(state.value, state.value) for state in RefundState]
DISPUTE_STATUSES = [(state.value, state.value) for state in DisputeState]
DISPUTE_STAGES = [(stage.value, stage.value) for stage in DisputeStage]
REFUND_REASONS = [(reason, reason) for reason in Refund.Reason.values]
REFUND_SOURCES = [(source, source) for source in Refund.Source.values]
CASE_KINDS = [(kind, kind) for kind in ReviewCase.Kind.values]
FILE_TYPES = ("application/pdf", "image/png", "image/jpeg")
# 700,000 bytes (payments.actions.answer_dispute) in base64.
CONTENT_LENGTH_MAX = 933_336


class UpdatePaymentBody(StrictSerializer):
    """What is left out stays as it is."""

    payment_method = TextField(
        default=None,
        max_length=200,
        help_text="What a later confirmation without one uses: a token, or a saved method's id.",
    )
    description = TextField(default=None, allow_blank=True, max_length=500)
    metadata = MetadataField(default=None, help_text="Replaces all that was there.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if all(value is None for value in attrs.values()):
            raise FlorinError(
                ErrorCode.parameter_invalid,
                "Give at least one of payment_method, description, metadata.",
                param="payment_method",
            )
        return attrs


class CapturePaymentBody(StrictSerializer):
    """Take the money that is held, or a part of it."""

    amount_minor = AmountField(default=None, help_text="All that is capturable unless told.")
    final_capture = FlagField(
        default=True,
        help_text="Whether what is then left is released; `false` keeps it capturable.",
    )


class IncrementAuthorizationBody(StrictSerializer):
    """Hold more than was authorized."""

    amount_minor = AmountField(help_text="The new total that is to be held.")


class RefundBody(StrictSerializer):
    """Give captured money back."""

    amount_minor = AmountField(default=None, help_text="All that is refundable unless told.")
    reason = ChoiceField(choices=Refund.Reason.values, required=False)
    metadata = MetadataField(default=dict, help_text="Up to 50 pairs of text of your own.")
    refund_platform_fee = FlagField(
        default=False, help_text="Whether the platform's fee goes back to you in proportion."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {"reason": "", **attrs}


class CreateRefundBody(RefundBody):
    """Give captured money of a payment back."""

    payment = TextField(max_length=40, help_text="The payment's id.")


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: {"type": "string", "minLength": 1} for name in EVIDENCE_TEXT_FIELDS},
    }
)
class EvidenceField(serializers.Field[Any, Any, Any, Any]):
    """Words per field of evidence."""

    def to_internal_value(self, data: Any) -> dict[str, str]:
        if not isinstance(data, dict):
            raise _evidence_invalid("Evidence is an object: a field's name, and its words.")
        for name, words in data.items():
            shown = name.encode("ascii", "replace").decode()[:100]
            if name not in EVIDENCE_TEXT_FIELDS:
                known = ", ".join(EVIDENCE_TEXT_FIELDS)
                raise _evidence_invalid(f"There is no such field; fields: {known}.", shown)
            if not isinstance(words, str) or not words.strip():
                raise _evidence_invalid("This has to be text, and not empty.", shown)
        return data

    def to_representation(self, value: Any) -> Any:
        return value


def _evidence_invalid(words: str, name: str = "") -> ValidationError:
    detail = ErrorDetail(words, code=ErrorCode.evidence_invalid.name)
    return ValidationError({name: [detail]} if name else [detail])


class SubmitEvidenceBody(StrictSerializer):
    """The answer to a dispute: these words, and every file that was added before."""

    evidence = EvidenceField(default=dict, help_text="Field -> words; see docs/disputes.md.")


class EvidenceFileBody(StrictSerializer):
    """A file for a dispute's answer; a second one of a kind takes the first one's place."""

    kind = ChoiceField(choices=EVIDENCE_FILE_FIELDS, help_text="What it shows.")
    filename = TextField(max_length=200)
    content_type = ChoiceField(choices=FILE_TYPES)
    content_base64 = TextField(
        max_length=CONTENT_LENGTH_MAX, help_text="At most 700,000 bytes, in base64."
    )


class CaptureObject(serializers.Serializer[Any]):
    """Money taken, or asked for, out of what was held."""

    id = serializers.CharField()
    object = serializers.CharField(help_text="Always `capture`.")
    payment = serializers.CharField()
    number = serializers.IntegerField(help_text="1 for the payment's first one.")
    status = serializers.ChoiceField(choices=CAPTURE_STATUSES)
    amount_minor = serializers.IntegerField()
    final = serializers.BooleanField(help_text="Whether it released what was left.")
    platform_fee_minor = serializers.IntegerField()
    last_error = LastErrorObject(allow_null=True)
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


class RefundObject(serializers.Serializer[Any]):
    """Money on its way back to the payer."""

    id = serializers.CharField()
    object = serializers.CharField(help_text="Always `refund`.")
    payment = serializers.CharField()
    status = serializers.ChoiceField(choices=REFUND_STATUSES)
    amount_minor = serializers.IntegerField()
    currency = serializers.CharField()
    reason = serializers.CharField(allow_null=True)
    source = serializers.ChoiceField(  # type: ignore[assignment]
        choices=REFUND_SOURCES, help_text="Who asked; `psp`: made in the provider's dashboard."
    )
    metadata = serializers.DictField(child=serializers.CharField())
    platform_fee_returned_minor = serializers.IntegerField()
    provider_reference = serializers.CharField(allow_null=True)
    last_error = LastErrorObject(allow_null=True)
    created_at = serializers.DateTimeField()
    succeeded_at = serializers.DateTimeField(allow_null=True)
    failed_at = serializers.DateTimeField(allow_null=True)


class DisputeObject(serializers.Serializer[Any]):
    """A payer's bank objects to a payment."""

    id = serializers.CharField()
    object = serializers.CharField(help_text="Always `dispute`.")
    payment = serializers.CharField()
    stage = serializers.ChoiceField(choices=DISPUTE_STAGES)
    status = serializers.ChoiceField(choices=DISPUTE_STATUSES)
    amount_minor = serializers.IntegerField()
    currency = serializers.CharField()
    reason = serializers.CharField(allow_null=True, help_text="The bank's word.")
    withdrawn_minor = serializers.IntegerField(help_text="Held by the provider while it is open.")
    lost_minor = serializers.IntegerField(help_text="Gone to the payer for good.")
    fee_minor = serializers.IntegerField(help_text="What the provider charges for it.")
    evidence_fields = serializers.ListField(
        child=serializers.CharField(), help_text="The names of what was handed in as words."
    )
    evidence_due_at = serializers.DateTimeField(allow_null=True)
    submitted_at = serializers.DateTimeField(allow_null=True)
    provider_reference = serializers.CharField()
    created_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)


class EvidenceFileMembers(serializers.Serializer[Any]):
    """A file that is handed in with the evidence. Its content is not shown again."""

    id = serializers.CharField()
    kind = serializers.CharField()
    filename = serializers.CharField()
    content_type = serializers.CharField()
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    created_at = serializers.DateTimeField()


class DisputeWithFilesObject(DisputeObject):
    """A dispute with the files collected for its answer."""

    evidence_files = EvidenceFileMembers(many=True)


class ReviewCaseObject(serializers.Serializer[Any]):
    """Something about a payment that a person decides."""

    id = serializers.CharField()
    object = serializers.CharField(help_text="Always `review_case`.")
    payment = serializers.CharField()
    kind = serializers.ChoiceField(choices=CASE_KINDS)
    words = serializers.CharField(help_text="What was met.")
    opened_at = serializers.DateTimeField()
    resolved_at = serializers.DateTimeField(allow_null=True)
    resolution = serializers.CharField(allow_null=True, help_text="What was decided.")
