"""Addresses to which a provider sends the webhooks of one account.

Mental model: an account may have several, so that an address or a secret can be exchanged without
a moment in which news is refused. Each has a token of its own, which finds it, and secrets of its
own, with which the provider signs. Whichever address an event comes in by, it is the same event of
the account. An endpoint that retires takes news until `retires_at`; from then on its address is
one that nobody has. The database keeps it retired.
"""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from simple_history.models import HistoricalRecords
from typeid import TypeID

from audit import encryption
from payments.models.merchant import ProviderAccount, new_endpoint_token


def new_provider_endpoint_id() -> str:
    """A new endpoint's id."""
    return str(TypeID(prefix="pend"))


class ProviderEndpoint(models.Model):
    """One address, `/webhooks/{provider}/{token}`, and what is signed there.

    The encrypted column holds the secrets as JSON; the row's id is part of what the cipher
    authenticates. What was replaced there holds until it expires.
    """

    id = models.CharField(
        primary_key=True, max_length=40, default=new_provider_endpoint_id, editable=False
    )
    account = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT, related_name="endpoints")
    name = models.CharField(max_length=100)
    token = models.CharField(max_length=64, unique=True, default=new_endpoint_token)
    secrets_encrypted = models.BinaryField()
    created_at = models.DateTimeField()
    retires_at = models.DateTimeField(null=True, blank=True)

    history = HistoricalRecords(excluded_fields=["secrets_encrypted", "token"])

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(retires_at__isnull=True) | Q(retires_at__gte=F("created_at")),
                name="provider_endpoint_retires_after_it_was_added",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"

    @property
    def encryption_context(self) -> str:
        """What binds the ciphertext to this row (additional authenticated data)."""
        return f"payments.providerendpoint.secrets:{self.id}"

    @property
    def last_event_at(self) -> datetime | None:
        """When an authentic event came in here, true to a minute or so; None when none did."""
        try:
            return self.use.last_event_at
        except ProviderEndpointUse.DoesNotExist:
            return None

    def is_retired(self, now: datetime) -> bool:
        """True from the moment on at which its address is unknown."""
        return self.retires_at is not None and self.retires_at <= now

    def set_secrets(self, plaintext_json: str) -> None:
        """Encrypt and keep the webhook secrets; the caller saves."""
        self.secrets_encrypted = encryption.encrypt(plaintext_json, context=self.encryption_context)

    def reveal_secrets(self) -> bytes:
        """The webhook secrets' JSON in clear."""
        return encryption.decrypt(bytes(self.secrets_encrypted), context=self.encryption_context)


class ProviderEndpointUse(models.Model):
    """When an endpoint last took an event: beside it, because it is no configuration with a
    history, and written at most once a minute by each process, because events come by hundreds.
    """

    endpoint = models.OneToOneField(
        ProviderEndpoint, on_delete=models.PROTECT, primary_key=True, related_name="use"
    )
    last_event_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.endpoint_id} at {self.last_event_at:%Y-%m-%d %H:%M}"
