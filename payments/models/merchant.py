"""Who is paid, with which keys, through which provider account.

Mental model: a `Merchant` is a tenant; every row of money names one. Its `ApiKey`s say who asks
and in which mode (test and live never cross). A `ProviderAccount` is a set of credentials at one
PSP in one mode, the platform's own (`merchant` empty) or one merchant's; of several, one is the
default. These three are configuration: they change through forms, and django-simple-history keeps
what they were.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from simple_history.models import HistoricalRecords
from typeid import TypeID

from audit import encryption
from payments.scopes import SCOPES


def new_merchant_id() -> str:
    """A new merchant's id."""
    return str(TypeID(prefix="mer"))


def new_api_key_id() -> str:
    """A new API key's id."""
    return str(TypeID(prefix="key"))


def new_provider_account_id() -> str:
    """A new provider account's id."""
    return str(TypeID(prefix="pacc"))


def new_endpoint_token() -> str:
    """The unguessable part of the address a PSP sends its webhooks to."""
    return secrets.token_urlsafe(24)


class Merchant(models.Model):
    """A business that takes payments through Florin.

    The platform's fee per captured payment is `fee_basis_points` of the amount plus
    `fee_fixed_minor` in the payment's minor units, and never more than the amount.
    """

    class Status(models.TextChoices):
        ACTIVE = "active"
        SUSPENDED = "suspended"

    id = models.CharField(primary_key=True, max_length=40, default=new_merchant_id, editable=False)
    name = models.CharField(max_length=200)
    email = models.EmailField()
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.ACTIVE)
    fee_basis_points = models.PositiveIntegerField(default=0)
    fee_fixed_minor = models.PositiveBigIntegerField(default=0)
    # Payments above this many minor units wait for a person before the PSP is asked; empty: none.
    review_above_minor = models.PositiveBigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField()

    history = HistoricalRecords()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(fee_basis_points__lte=10_000), name="merchant_fee_at_most_all"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["active", "suspended"]), name="merchant_status_known"
            ),
        ]
        indexes = [models.Index(Lower("email"), name="merchant_by_email")]

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"


class ApiKey(models.Model):
    """A way to ask as a merchant. The key itself is shown once; only its hash is stored.

    A key is `<kind>_<mode>_<32 random bytes>`; with 256 bits of entropy one round of SHA-256
    is enough, and the lookup is one index read. Only restricted keys name `scopes`. A key that
    was rotated has a `successor` and expires.
    """

    class Kind(models.TextChoices):
        SECRET = "secret"  # noqa: S105
        RESTRICTED = "restricted"
        PUBLISHABLE = "publishable"

    id = models.CharField(primary_key=True, max_length=40, default=new_api_key_id, editable=False)
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="api_keys")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    livemode = models.BooleanField(default=False)
    name = models.CharField(max_length=100, blank=True)
    prefix = models.CharField(max_length=20)
    hashed_key = models.CharField(max_length=64, unique=True)
    scopes = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    rotated_from = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="successor"
    )
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    history = HistoricalRecords(excluded_fields=["hashed_key"])

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["secret", "restricted", "publishable"]),
                name="api_key_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(scopes__contained_by=list(SCOPES)), name="api_key_scopes_known"
            ),
            models.CheckConstraint(
                condition=Q(kind="restricted", scopes__len__gt=0)
                | (~Q(kind="restricted") & Q(scopes__len=0)),
                name="api_key_scopes_of_restricted_keys",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__isnull=True) | Q(expires_at__gte=F("created_at")),
                name="api_key_expires_after_it_was_issued",
            ),
        ]
        permissions = [("issue_live_apikey", "Can issue live API keys")]

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.id})"

    @property
    def last_used_at(self) -> datetime | None:
        """When the key was used, true to a minute or so; None when it never was."""
        try:
            return self.use.last_used_at
        except ApiKeyUse.DoesNotExist:
            return None

    @staticmethod
    def digest(key: str) -> str:
        """The stored form of a key."""
        return hashlib.sha256(key.encode()).hexdigest()

    @classmethod
    def generate(cls, *, kind: str, livemode: bool) -> str:
        """A new key in clear, to be shown once."""
        start = _KEY_STARTS[cls.Kind(kind)]
        return f"{start}_{'live' if livemode else 'test'}_{secrets.token_urlsafe(32)}"


class ApiKeyUse(models.Model):
    """When a key was last used: beside the key, because it is no configuration with a history."""

    key = models.OneToOneField(
        ApiKey, on_delete=models.PROTECT, primary_key=True, related_name="use"
    )
    last_used_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.key_id} at {self.last_used_at:%Y-%m-%d %H:%M}"


_KEY_STARTS = {
    ApiKey.Kind.SECRET: "sk",
    ApiKey.Kind.RESTRICTED: "rk",
    ApiKey.Kind.PUBLISHABLE: "pk",
}


class ProviderAccount(models.Model):
    """Credentials at one PSP in one mode, encrypted. `merchant` says whose payments go through it,
    empty for everybody's; whose account it is with the PSP, and so whom the PSP pays, says
    `owned_by_merchant`.

    An owner may have several active ones per mode; the default one takes the payments that name
    none. One that is not active takes no new payments and goes on with those it has.

    Where the provider sends its webhooks, and what it signs them with, say the account's endpoints
    (payments.models.provider_endpoint). The encrypted column holds `secret_key` as JSON; the row's
    id is part of what the cipher authenticates.
    """

    id = models.CharField(
        primary_key=True, max_length=40, default=new_provider_account_id, editable=False
    )
    provider = models.CharField(max_length=32)
    name = models.CharField(max_length=100)
    merchant = models.ForeignKey(
        Merchant,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="provider_accounts",
    )
    # The PSP pays this merchant itself, not the platform: other books (payments.bookkeeping).
    owned_by_merchant = models.BooleanField(default=False)
    livemode = models.BooleanField(default=False)
    active = models.BooleanField(default=True)
    is_default = models.BooleanField(default=False)
    publishable_key = models.CharField(max_length=255, blank=True)
    api_base = models.CharField(max_length=255, blank=True)
    secrets_encrypted = models.BinaryField()
    created_at = models.DateTimeField()

    history = HistoricalRecords(excluded_fields=["secrets_encrypted"])

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["merchant", "livemode"],
                condition=Q(is_default=True),
                nulls_distinct=False,
                name="provider_account_one_default_per_owner_and_mode",
            ),
            models.CheckConstraint(
                condition=Q(is_default=False) | Q(active=True),
                name="provider_account_default_is_active",
            ),
            models.CheckConstraint(
                condition=Q(owned_by_merchant=False) | Q(merchant__isnull=False),
                name="provider_account_owner_is_its_merchant",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.provider}, {'live' if self.livemode else 'test'})"

    @property
    def encryption_context(self) -> str:
        """What binds the ciphertext to this row (additional authenticated data)."""
        return f"payments.provideraccount.secrets:{self.id}"

    def set_secrets(self, plaintext_json: str) -> None:
        """Encrypt and keep the credentials; the caller saves."""
        self.secrets_encrypted = encryption.encrypt(plaintext_json, context=self.encryption_context)

    def reveal_secrets(self) -> bytes:
        """The credentials' JSON in clear, for one provider call."""
        return encryption.decrypt(bytes(self.secrets_encrypted), context=self.encryption_context)
