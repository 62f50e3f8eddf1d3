"""A payment and every move it made.

Mental model: `Payment` is the aggregate and its row lock is the one lock of this app. Its `state`
is moved only by the django-fsm methods of `PaymentMoves`; each move leaves an immutable
`Transition`, and PostgreSQL refuses a move without one. Its tries and the calls made for it stand
in payments.models.attempt, its captures, refunds and disputes in files of their own.
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from typeid import TypeID

from payments.models.merchant import Merchant, ProviderAccount
from payments.models.payment_moves import PaymentMoves
from payments.states import State


def new_payment_id() -> str:
    """A new payment's id: sortable by time."""
    return str(TypeID(prefix="pay"))


class Payment(PaymentMoves):
    """One sum of money on its way from a payer to a merchant. Amounts in minor units."""

    class CaptureMethod(models.TextChoices):
        AUTOMATIC = "automatic"
        MANUAL = "manual"

    id = models.CharField(primary_key=True, max_length=40, default=new_payment_id, editable=False)
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="payments")
    livemode = models.BooleanField()
    provider_account = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT)
    customer = models.ForeignKey(
        "payments.Customer",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        related_name="payments",
    )
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    capture_method = models.CharField(max_length=16, choices=CaptureMethod.choices)
    version = models.PositiveIntegerField(default=1)
    # The number of the latest attempt; the attempts before it are over.
    attempt_count = models.PositiveIntegerField(default=1)

    amount_authorized_minor = models.BigIntegerField(default=0)
    amount_capturable_minor = models.BigIntegerField(default=0)
    amount_captured_minor = models.BigIntegerField(default=0)
    amount_refund_pending_minor = models.BigIntegerField(default=0)
    amount_refunded_minor = models.BigIntegerField(default=0)
    amount_disputed_minor = models.BigIntegerField(default=0)
    amount_reversed_minor = models.BigIntegerField(default=0)
    amount_settled_minor = models.BigIntegerField(default=0)
    # What the PSPs charged for disputes, which the merchant bears.
    dispute_fee_minor = models.BigIntegerField(default=0)
    # What was given back beyond what was captured: refunded and disputed or returned as well.
    double_loss_minor = models.BigIntegerField(default=0)
    platform_fee_minor = models.BigIntegerField(default=0)
    provider_fee_minor = models.BigIntegerField(null=True, blank=True)

    description = models.CharField(max_length=500, blank=True)
    merchant_reference = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    return_url = models.CharField(max_length=2000, blank=True)
    payment_method = models.JSONField(default=dict, blank=True)
    next_action = models.JSONField(null=True, blank=True)
    outcome = models.CharField(max_length=16, blank=True)
    last_error = models.JSONField(null=True, blank=True)
    cancellation_reason = models.CharField(max_length=40, blank=True)
    review_reason = models.CharField(max_length=200, blank=True)

    created_at = models.DateTimeField()
    authorized_at = models.DateTimeField(null=True, blank=True)
    captured_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    canceled_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    # When a payment that nobody pays is given up; when a hold runs out, where the PSP says so.
    expires_at = models.DateTimeField(null=True, blank=True)
    capture_before = models.DateTimeField(null=True, blank=True)
    poll_due_at = models.DateTimeField(null=True, blank=True)
    poll_count = models.PositiveIntegerField(default=0)

    class Meta:
        permissions = [
            ("refund_payment", "Can refund a payment"),
            ("capture_payment", "Can capture a payment"),
            ("cancel_payment", "Can cancel a payment"),
            ("poll_payment", "Can ask the provider about a payment"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="payment_amount_above_0"),
            models.CheckConstraint(
                condition=Q(currency__regex=r"^[A-Z]{3}$"), name="payment_currency_is_iso_4217"
            ),
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in State]), name="payment_state_known"
            ),
            models.CheckConstraint(
                condition=Q(capture_method__in=["automatic", "manual"]),
                name="payment_capture_method_known",
            ),
            models.CheckConstraint(
                condition=Q(amount_authorized_minor__gte=0)
                & Q(amount_capturable_minor__gte=0)
                & Q(amount_captured_minor__gte=0)
                & Q(amount_refund_pending_minor__gte=0)
                & Q(amount_refunded_minor__gte=0)
                & Q(amount_disputed_minor__gte=0)
                & Q(amount_reversed_minor__gte=0)
                & Q(amount_settled_minor__gte=0)
                & Q(platform_fee_minor__gte=0)
                & Q(dispute_fee_minor__gte=0)
                & Q(double_loss_minor__gte=0),
                name="payment_amounts_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(amount_captured_minor__lte=F("amount_authorized_minor")),
                name="payment_captured_at_most_authorized",
            ),
            # The columns of what was given back may exceed the captured sum only by the double loss
            # that is told beside them, to the unit.
            models.CheckConstraint(
                condition=Q(
                    amount_captured_minor__gte=F("amount_refunded_minor")
                    + F("amount_refund_pending_minor")
                    + F("amount_disputed_minor")
                    + F("amount_reversed_minor")
                    - F("double_loss_minor")
                ),
                name="payment_given_back_at_most_captured",
            ),
            models.CheckConstraint(
                condition=Q(double_loss_minor=0)
                | Q(
                    amount_captured_minor=F("amount_refunded_minor")
                    + F("amount_refund_pending_minor")
                    + F("amount_disputed_minor")
                    + F("amount_reversed_minor")
                    - F("double_loss_minor")
                ),
                name="payment_double_loss_is_exact",
            ),
            models.CheckConstraint(
                condition=Q(amount_settled_minor__lte=F("amount_captured_minor")),
                name="payment_settled_at_most_captured",
            ),
            models.CheckConstraint(
                condition=~Q(state="canceled") | Q(amount_captured_minor=0),
                name="payment_canceled_has_no_money",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["created", "requires_action", "processing", "failed"])
                | Q(amount_captured_minor=0),
                name="payment_not_captured_has_no_money",
            ),
            models.CheckConstraint(
                condition=~Q(state="refunded")
                | Q(
                    amount_captured_minor__lte=F("amount_refunded_minor")
                    + F("amount_reversed_minor")
                ),
                name="payment_refunded_gave_all_back",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["captured", "settled", "partially_captured", "disputed"])
                | Q(amount_captured_minor__gt=0),
                name="payment_captured_has_money",
            ),
            models.CheckConstraint(
                condition=~Q(state="settled") | Q(settled_at__isnull=False),
                name="payment_settled_has_time",
            ),
            models.UniqueConstraint(
                # The reference leads, so that staff find a payment by it alone.
                fields=["merchant_reference", "merchant", "livemode"],
                condition=~Q(merchant_reference=""),
                name="payment_merchant_reference_once",
            ),
        ]
        indexes = [
            models.Index(fields=["merchant", "livemode", "-id"], name="payment_of_merchant"),
            models.Index(
                fields=["poll_due_at"],
                condition=Q(poll_due_at__isnull=False),
                name="payment_poll_due",
            ),
            models.Index(fields=["created_at"], name="payment_created"),
            models.Index(
                fields=["customer", "-id"],
                condition=Q(customer__isnull=False),
                name="payment_of_customer",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.state})"


class Transition(models.Model):
    """One move of one payment. Append-only in the database; never changed, never deleted."""

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="transitions")
    version = models.PositiveIntegerField()
    event = models.CharField(max_length=40)
    from_state = models.CharField(max_length=24)
    to_state = models.CharField(max_length=24)
    cause_type = models.CharField(max_length=24)
    cause_id = models.CharField(max_length=80, blank=True)
    actor_type = models.CharField(max_length=16)
    actor_id = models.CharField(max_length=80)
    occurred_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["payment", "version"], name="transition_version_once"),
        ]

    def __str__(self) -> str:
        return f"{self.payment_id} v{self.version} {self.from_state} → {self.to_state}"
