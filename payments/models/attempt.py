"""The tries to pay a payment, and the calls to the PSP made for them.

Mental model: an `Attempt` is one try with one payment method and knows the PSP's object and charge;
news from the PSP binds to the attempt it is about. A `ProviderOperation` is one call whose
idempotency key was committed before the call; it is open until its outcome is known, and at most
one is open per payment, so a cancel cannot race a capture.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from typeid import TypeID

from audit import encryption
from payments.models.merchant import ProviderAccount
from payments.models.payment import Payment


def new_attempt_id() -> str:
    """A new attempt's id."""
    return str(TypeID(prefix="att"))


def new_operation_id() -> str:
    """A new provider operation's id."""
    return str(TypeID(prefix="op"))


class AttemptQuerySet(models.QuerySet["Attempt"]):
    """Attempts, with the one question that is asked of them."""

    def last_try(self) -> Attempt | None:
        """The latest of these attempts, with its provider account, or None."""
        return self.select_related("provider_account").order_by("-number").first()


class Attempt(models.Model):
    """One try to pay with one payment method. News from a PSP binds to the attempt it is about.

    `provider_reference` is the PSP's payment object, `charge_reference` its single charge where
    the PSP has one. The PSP's own client secret is encrypted.
    """

    class State(models.TextChoices):
        OPEN = "open"
        SUBMITTED = "submitted"
        SUCCEEDED = "succeeded"
        DECLINED = "declined"
        CANCELED = "canceled"

    id = models.CharField(primary_key=True, max_length=40, default=new_attempt_id, editable=False)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="attempts")
    number = models.PositiveIntegerField()
    provider_account = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT)
    provider_reference = models.CharField(max_length=120, blank=True)
    charge_reference = models.CharField(max_length=120, blank=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.OPEN)
    # What the merchant named: the PSP's token, or the id of a saved payment method of ours.
    payment_method_token = models.CharField(max_length=200, blank=True)
    off_session = models.BooleanField(default=False)  # the payer is not there
    client_secret_encrypted = models.BinaryField(null=True)
    error = models.JSONField(null=True, blank=True)
    # What the PSP last told us about its object: its own version of it, and which try it counts.
    # 0 where the PSP does not say.
    provider_version = models.PositiveIntegerField(default=0)
    provider_try = models.PositiveIntegerField(default=0)
    # What the PSP's object held of the try before this one: an old decline that is told again
    # must not pass for news of this try.
    earlier_try = models.PositiveIntegerField(default=0)
    earlier_charge_reference = models.CharField(max_length=120, blank=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = AttemptQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["payment", "number"], name="attempt_number_once"),
            models.UniqueConstraint(
                fields=["payment"],
                condition=Q(state__in=["open", "submitted", "succeeded"]),
                name="attempt_one_active_per_payment",
            ),
        ]
        indexes = [
            # The references lead, so that staff find an attempt by one alone.
            models.Index(
                fields=["provider_reference", "provider_account"],
                condition=~Q(provider_reference=""),
                name="attempt_by_reference",
            ),
            models.Index(
                fields=["charge_reference", "provider_account"],
                condition=~Q(charge_reference=""),
                name="attempt_by_charge",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} #{self.number} of {self.payment_id} {self.state}"

    @property
    def encryption_context(self) -> str:
        """What binds the ciphertext to this row (additional authenticated data)."""
        return f"payments.attempt.client_secret:{self.id}"

    def keep_client_secret(self, client_secret: str) -> None:
        """Encrypt and keep the PSP's client secret; the caller saves."""
        if client_secret and client_secret != self.reveal_client_secret():
            self.client_secret_encrypted = encryption.encrypt(
                client_secret, context=self.encryption_context
            )

    def reveal_client_secret(self) -> str:
        """The PSP's client secret in clear, or "" when there is none."""
        if self.client_secret_encrypted is None:
            return ""
        stored = bytes(self.client_secret_encrypted)
        return encryption.decrypt(stored, context=self.encryption_context).decode()


class ProviderOperation(models.Model):
    """One call to the PSP: committed before it is made, closed when its outcome is known.

    `finished_at` empty means open: submitting, or its outcome is not known. An open operation is
    re-driven by `resume_payment` with the same `provider_idempotency_key`, never with a new one.
    `lease_token` fences: only the holder of the current lease may record an outcome.
    """

    class Kind(models.TextChoices):
        CREATE = "create"
        CONFIRM = "confirm"
        CAPTURE = "capture"
        CANCEL = "cancel"
        INCREMENT = "increment"
        REFUND = "refund"
        SUBMIT_EVIDENCE = "submit_evidence"
        ACCEPT_DISPUTE = "accept_dispute"

    id = models.CharField(primary_key=True, max_length=40, default=new_operation_id, editable=False)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="operations")
    attempt = models.ForeignKey(Attempt, on_delete=models.PROTECT, related_name="operations")
    # What the call is about beside the payment: the row whose id the PSP keeps.
    capture = models.ForeignKey("Capture", on_delete=models.PROTECT, null=True, blank=True)
    refund = models.ForeignKey("Refund", on_delete=models.PROTECT, null=True, blank=True)
    dispute = models.ForeignKey("Dispute", on_delete=models.PROTECT, null=True, blank=True)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    request = models.JSONField(default=dict)
    provider_idempotency_key = models.CharField(max_length=120, unique=True)
    key_expires_at = models.DateTimeField()
    outcome = models.CharField(max_length=16, blank=True)
    error = models.JSONField(null=True, blank=True)
    try_count = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField()
    lease_token = models.CharField(max_length=40, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["payment"],
                condition=Q(finished_at__isnull=True),
                name="operation_one_open_per_payment",
            ),
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True) | ~Q(outcome__in=["", "unknown"]),
                name="operation_finished_has_outcome",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_try_at"],
                condition=Q(finished_at__isnull=True),
                name="operation_try_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.kind} of {self.payment_id} {self.outcome or 'open'}"
