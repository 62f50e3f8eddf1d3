"""Who pays again and again, with what, and with whose leave.

Mental model: a `Customer` is a merchant's payer; name and e-mail address are encrypted, found by a
blind index and erased when the customer is deleted. A `PaymentMethod` is what a PSP keeps for us
under a token: we hold its reference and what may be shown of it, never a number. A `Mandate` is the
payer's leave to charge it later. A `MethodOperation` is one call to the PSP about a method, with
its idempotency key committed before the call, as `ProviderOperation` is one about a payment. The
customer's row lock is the lock of all of them.
"""

from __future__ import annotations

import enum
import json
from typing import Any

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, FSMModelMixin
from typeid import TypeID

from audit import encryption
from payments.machines import Machine, guarded_by
from payments.models.merchant import Merchant, ProviderAccount


class MethodState(enum.StrEnum):
    """Where a saved payment method stands; only an active one is charged."""

    PENDING = "pending"
    ACTIVE = "active"
    FAILED = "failed"
    REMOVED = "removed"


# state -> event -> state after it, as in payments.machines.
METHOD_EDGES: Machine = {
    "pending": {"psp_saved": "active", "psp_refused": "failed"},
    "active": {"remove": "removed"},
}


def new_customer_id() -> str:
    """A new customer's id."""
    return str(TypeID(prefix="cus"))


def new_payment_method_id() -> str:
    """A new payment method's id."""
    return str(TypeID(prefix="pm"))


def new_mandate_id() -> str:
    """A new mandate's id."""
    return str(TypeID(prefix="mandate"))


def new_method_operation_id() -> str:
    """A new method operation's id."""
    return str(TypeID(prefix="mop"))


def _sealed(row: models.Model, name: str, value: str) -> bytes | None:
    context = f"payments.{row._meta.model_name}.{name}:{row.pk}"
    return encryption.encrypt(value, context=context) if value else None


def _opened(row: models.Model, name: str, token: bytes | memoryview | None) -> str:
    context = f"payments.{row._meta.model_name}.{name}:{row.pk}"
    return "" if token is None else encryption.decrypt(bytes(token), context=context).decode()


class Customer(models.Model):
    """A merchant's payer. A deleted one keeps its id, for the payments that name it, and no more.

    `email_index` and `name_index` are blind indexes of the normalised values (`email_form`,
    `name_form`), "" where there is none.
    """

    EMAIL_PURPOSE = "payments.customer.email"
    NAME_PURPOSE = "payments.customer.name"

    id = models.CharField(primary_key=True, max_length=40, default=new_customer_id, editable=False)
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="customers")
    livemode = models.BooleanField()
    email_encrypted = models.BinaryField(null=True)
    email_index = models.CharField(max_length=64, blank=True)
    name_encrypted = models.BinaryField(null=True)
    name_index = models.CharField(max_length=64, blank=True)
    merchant_reference = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["merchant_reference", "merchant", "livemode"],
                condition=~Q(merchant_reference=""),
                name="customer_merchant_reference_once",
            ),
            models.CheckConstraint(
                condition=Q(deleted_at__isnull=True)
                | Q(
                    email_encrypted__isnull=True,
                    email_index="",
                    name_encrypted__isnull=True,
                    name_index="",
                    merchant_reference="",
                    metadata={},
                ),
                name="customer_deleted_is_erased",
            ),
        ]
        indexes = [
            models.Index(fields=["merchant", "livemode", "-id"], name="customer_of_merchant"),
            models.Index(
                fields=["email_index"], condition=~Q(email_index=""), name="customer_by_email"
            ),
            models.Index(
                fields=["name_index"], condition=~Q(name_index=""), name="customer_by_name"
            ),
        ]

    def __str__(self) -> str:
        return self.id

    @staticmethod
    def email_form(email: str) -> str:
        """The form in which addresses are compared: without surrounding space or case."""
        return email.strip().casefold()

    @staticmethod
    def name_form(name: str) -> str:
        """The form in which names are compared: single spaces, without case."""
        return " ".join(name.split()).casefold()

    @classmethod
    def email_fingerprint(cls, email: str) -> str:
        """The blind index of an address, "" of none."""
        form = cls.email_form(email)
        return encryption.blind_index(form, purpose=cls.EMAIL_PURPOSE) if form else ""

    @classmethod
    def name_fingerprint(cls, name: str) -> str:
        """The blind index of a name, "" of none."""
        form = cls.name_form(name)
        return encryption.blind_index(form, purpose=cls.NAME_PURPOSE) if form else ""

    def set_email(self, email: str) -> None:
        """Encrypt and keep the address ("": none); the caller saves."""
        self.email_encrypted = _sealed(self, "email", email)
        self.email_index = self.email_fingerprint(email)

    def set_name(self, name: str) -> None:
        """Encrypt and keep the name ("": none); the caller saves."""
        self.name_encrypted = _sealed(self, "name", name)
        self.name_index = self.name_fingerprint(name)

    def reveal_email(self) -> str:
        """The e-mail address in clear, "" where there is none."""
        return _opened(self, "email", self.email_encrypted)

    def reveal_name(self) -> str:
        """The name in clear, "" where there is none."""
        return _opened(self, "name", self.name_encrypted)


class CustomerReference(models.Model):
    """The name a customer has at one provider account, known since its first method was saved."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="references")
    provider_account = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT)
    provider_reference = models.CharField(max_length=120)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "provider_account"], name="customer_reference_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer_id} is {self.provider_reference}"


@guarded_by(METHOD_EDGES)
class PaymentMethod(FSMModelMixin, models.Model):
    """What a PSP keeps for one customer at one provider account, to be charged later.

    `customer_reference` is the PSP's customer it belongs to. `error` says why it failed, or, while
    `pending`, that nobody could say whether the PSP has it.
    """

    id = models.CharField(
        primary_key=True, max_length=40, default=new_payment_method_id, editable=False
    )
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="methods")
    provider_account = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT)
    state = FSMField(
        default=MethodState.PENDING.value,
        protected=True,
        max_length=16,
        choices=[(state.value, state.value) for state in MethodState],
    )
    provider_reference = models.CharField(max_length=120, blank=True)
    customer_reference = models.CharField(max_length=120, blank=True)
    kind = models.CharField(max_length=40, blank=True)
    brand = models.CharField(max_length=40, blank=True)
    last4 = models.CharField(max_length=4, blank=True)
    expiry_month = models.PositiveSmallIntegerField(null=True, blank=True)
    expiry_year = models.PositiveSmallIntegerField(null=True, blank=True)
    fingerprint = models.CharField(max_length=120, blank=True)
    error = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField()
    saved_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in MethodState]),
                name="payment_method_state_known",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["active", "removed"])
                | ~Q(provider_reference="") & ~Q(customer_reference=""),
                name="payment_method_saved_has_reference",
            ),
            models.UniqueConstraint(
                fields=["provider_reference", "provider_account"],
                condition=Q(state="active"),
                name="payment_method_active_once",
            ),
        ]
        indexes = [models.Index(fields=["customer", "-id"], name="payment_method_of_customer")]

    def __str__(self) -> str:
        return f"{self.id} {self.state}"


class Mandate(models.Model):
    """The payer's leave to charge one payment method later, as they gave it.

    `acceptance_encrypted` is JSON: accepted_at, ip_address, user_agent. It is evidence, so it stays
    when the mandate is revoked, and goes with the customer's other personal data.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        ACTIVE = "active"
        INACTIVE = "inactive"
        REVOKED = "revoked"

    id = models.CharField(primary_key=True, max_length=40, default=new_mandate_id, editable=False)
    method = models.OneToOneField(PaymentMethod, on_delete=models.PROTECT, related_name="mandate")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.PENDING)
    provider_reference = models.CharField(max_length=120, blank=True)
    acceptance_encrypted = models.BinaryField(null=True)
    accepted_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["pending", "active", "inactive", "revoked"]),
                name="mandate_status_known",
            ),
            models.CheckConstraint(
                condition=Q(status="revoked", revoked_at__isnull=False)
                | ~Q(status="revoked") & Q(revoked_at__isnull=True),
                name="mandate_revoked_has_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.status}"

    def set_acceptance(self, acceptance: dict[str, Any]) -> None:
        """Encrypt and keep how the payer agreed; the caller saves."""
        self.acceptance_encrypted = _sealed(self, "acceptance", json.dumps(acceptance))

    def reveal_acceptance(self) -> dict[str, Any]:
        """How the payer agreed, in clear; empty where nobody told or it was erased."""
        kept: dict[str, Any] = json.loads(
            _opened(self, "acceptance", self.acceptance_encrypted) or "{}"
        )
        return kept


class MethodOperation(models.Model):
    """One call to the PSP about a payment method: committed before it is made.

    `request_encrypted` is all that the call says, frozen, so that every repeat under the same key
    says the same; it is erased when the operation ends. `claim_id` is the row of the client's
    idempotency key that waits for it. `unsent_count` counts the tries that surely did not reach the
    PSP: only when all of them did not is it sure, once the key has expired, that nothing was done.
    """

    class Kind(models.TextChoices):
        SAVE = "save"
        REMOVE = "remove"

    id = models.CharField(
        primary_key=True, max_length=40, default=new_method_operation_id, editable=False
    )
    method = models.ForeignKey(PaymentMethod, on_delete=models.PROTECT, related_name="operations")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    request_encrypted = models.BinaryField(null=True)
    provider_idempotency_key = models.CharField(max_length=120, unique=True)
    key_expires_at = models.DateTimeField()
    claim_id = models.BigIntegerField(null=True, db_index=True)
    outcome = models.CharField(max_length=16, blank=True)
    error = models.JSONField(null=True, blank=True)
    try_count = models.PositiveIntegerField(default=0)
    unsent_count = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField()
    lease_token = models.CharField(max_length=40, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["method"],
                condition=Q(finished_at__isnull=True),
                name="method_operation_one_open",
            ),
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True)
                | ~Q(outcome__in=["", "unknown"]) & Q(request_encrypted__isnull=True),
                name="method_operation_finished_has_outcome",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_try_at"],
                condition=Q(finished_at__isnull=True),
                name="method_operation_try_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.kind} of {self.method_id} {self.outcome or 'open'}"

    def set_request(self, request: dict[str, Any]) -> None:
        """Encrypt and keep what the call says; the caller saves."""
        self.request_encrypted = _sealed(self, "request", json.dumps(request))

    def reveal_request(self) -> dict[str, Any]:
        """What the call says, in clear."""
        request: dict[str, Any] = json.loads(_opened(self, "request", self.request_encrypted))
        return request
