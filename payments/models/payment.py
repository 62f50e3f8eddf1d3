"""A payment and every move it made.

Mental model: `Payment` is the aggregate and its row lock is the one lock of this app. Its `state`
is moved only by the django-fsm methods below, which are made from `payments.states.EDGES`; each
move leaves an immutable `Transition`, and PostgreSQL refuses a move without one. Its tries and the
calls made for it stand in payments.models.attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, FSMModelMixin, transition
from typeid import TypeID

from payments.models.merchant import Merchant, ProviderAccount
from payments.states import EVENTS, State, edges_of

Method = TypeVar("Method", bound=Callable[..., Any])


def new_payment_id() -> str:
    """A new payment's id: sortable by time."""
    return str(TypeID(prefix="pay"))


def _takes_its_edges(method: Method) -> Method:
    """Let django-fsm guard `method` by every row of EDGES that carries its name."""
    for edge in edges_of(method.__name__):
        method = transition(field="state", source=edge.source.value, target=edge.target.value)(
            method
        )
    return method


class Payment(FSMModelMixin, models.Model):
    """One sum of money on its way from a payer to a merchant. Amounts in minor units."""

    class CaptureMethod(models.TextChoices):
        AUTOMATIC = "automatic"
        MANUAL = "manual"

    id = models.CharField(primary_key=True, max_length=40, default=new_payment_id, editable=False)
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="payments")
    livemode = models.BooleanField()
    provider_account = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    capture_method = models.CharField(max_length=16, choices=CaptureMethod.choices)
    state = FSMField(
        default=State.CREATED.value,
        protected=True,
        max_length=24,
        choices=[(state.value, state.value) for state in State],
    )
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
    poll_due_at = models.DateTimeField(null=True, blank=True)
    poll_count = models.PositiveIntegerField(default=0)

    class Meta:
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
                & Q(platform_fee_minor__gte=0),
                name="payment_amounts_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(amount_captured_minor__lte=F("amount_authorized_minor")),
                name="payment_captured_at_most_authorized",
            ),
            models.CheckConstraint(
                condition=Q(
                    amount_captured_minor__gte=F("amount_refunded_minor")
                    + F("amount_refund_pending_minor")
                    + F("amount_reversed_minor")
                ),
                name="payment_given_back_at_most_captured",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["captured", "settled"]) | Q(amount_captured_minor__gt=0),
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
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.state})"

    @_takes_its_edges
    def confirm(self) -> None:
        """The merchant asked to take the money; the call to the PSP is committed."""

    @_takes_its_edges
    def client_confirmed(self) -> None:
        """The payer confirmed at the PSP; its own news follows in the same transaction."""

    @_takes_its_edges
    def cancel(self) -> None:
        """Given up before any money was held."""

    @_takes_its_edges
    def psp_action_required(self) -> None:
        """The payer must do something (3-D Secure, redirect)."""

    @_takes_its_edges
    def psp_processing(self) -> None:
        """The payer did it; the PSP works on."""

    @_takes_its_edges
    def psp_authorized(self) -> None:
        """The money is held."""

    @_takes_its_edges
    def psp_captured(self) -> None:
        """The money is taken."""

    @_takes_its_edges
    def psp_declined_retryable(self) -> None:
        """This try was refused; another may succeed."""

    @_takes_its_edges
    def psp_declined_final(self) -> None:
        """Refused for good."""

    @_takes_its_edges
    def psp_canceled(self) -> None:
        """The PSP canceled its object."""

    @_takes_its_edges
    def psp_settled(self) -> None:
        """The PSP counts the money as available to us."""

    @_takes_its_edges
    def capture_requested(self) -> None:
        """The merchant asked to take held money; the call is committed."""

    @_takes_its_edges
    def capture_failed_retryable(self) -> None:
        """The capture was refused; the hold stands."""

    @_takes_its_edges
    def capture_failed_final(self) -> None:
        """The capture was refused and the hold is gone."""

    @_takes_its_edges
    def void(self) -> None:
        """The hold was released."""

    @_takes_its_edges
    def auth_expired(self) -> None:
        """The hold ran out at the PSP."""

    @_takes_its_edges
    def integrity_mismatch(self) -> None:
        """The PSP's amount or currency is not ours; a person must look."""

    @_takes_its_edges
    def outcome_unknown_exhausted(self) -> None:
        """The PSP could not say in time what happened; a person must look."""

    @_takes_its_edges
    def late_money(self) -> None:
        """The PSP reports money on a payment we hold canceled."""

    @_takes_its_edges
    def late_success(self) -> None:
        """The PSP reports success after failure."""

    @_takes_its_edges
    def late_authorized(self) -> None:
        """The PSP reports a hold after failure."""


_unguarded = [event for event in EVENTS if not hasattr(Payment, event)]
assert not _unguarded, f"Bug! no method on Payment takes the edges {_unguarded}"


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
