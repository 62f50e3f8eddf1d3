"""One giving back of captured money, asked for by us or first seen at the PSP.

Mental model: a refund reserves its amount under the payment's lock before the PSP is called, so two
of them can never give back more than there is. It succeeds, fails, or fails after it had succeeded;
each of these moves the reservation, and the payment's amounts are the sum of its refunds.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, FSMModelMixin
from typeid import TypeID

from payments.machines import REFUND_EDGES, RefundState, guarded_by
from payments.models.merchant import ProviderAccount
from payments.models.payment import Payment


def new_refund_id() -> str:
    """A new refund's id."""
    return str(TypeID(prefix="re"))


@guarded_by(REFUND_EDGES)
class Refund(FSMModelMixin, models.Model):
    """Money on its way back to the payer. Amounts in minor units of the payment's currency."""

    class Source(models.TextChoices):
        API = "api"
        BACK_OFFICE = "back_office"
        PSP = "psp"

    class Reason(models.TextChoices):
        DUPLICATE = "duplicate"
        FRAUDULENT = "fraudulent"
        REQUESTED_BY_CUSTOMER = "requested_by_customer"

    id = models.CharField(primary_key=True, max_length=40, default=new_refund_id, editable=False)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    provider_account = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=24, blank=True, choices=Reason.choices)
    source = models.CharField(max_length=16, choices=Source.choices)
    metadata = models.JSONField(default=dict, blank=True)
    state = FSMField(
        default=RefundState.REQUESTED.value,
        protected=True,
        max_length=24,
        choices=[(state.value, state.value) for state in RefundState],
    )
    provider_reference = models.CharField(max_length=120, blank=True)
    provider_version = models.PositiveIntegerField(default=0)
    error = models.JSONField(null=True, blank=True)
    # The share of the platform's fee that goes back with it.
    platform_fee_returned_minor = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    succeeded_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="refund_amount_above_0"),
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in RefundState]),
                name="refund_state_known",
            ),
            models.CheckConstraint(
                condition=Q(source__in=["api", "back_office", "psp"]), name="refund_source_known"
            ),
            models.CheckConstraint(
                condition=Q(platform_fee_returned_minor__gte=0)
                & Q(platform_fee_returned_minor__lte=models.F("amount_minor")),
                name="refund_fee_within_amount",
            ),
            models.UniqueConstraint(
                fields=["provider_reference", "provider_account"],
                condition=~Q(provider_reference=""),
                name="refund_provider_reference_once",
            ),
        ]
        indexes = [
            models.Index(fields=["payment", "-id"], name="refund_of_payment"),
            models.Index(
                fields=["id"],
                condition=Q(state__in=["requested", "requires_action", "pending"]),
                name="refund_open",
            ),
            models.Index(
                fields=["failed_at"], condition=Q(failed_at__isnull=False), name="refund_failed"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.amount_minor} {self.currency} of {self.payment_id} {self.state}"
