"""The tables of the payments app, one file per aggregate."""

from payments.models.attempt import Attempt, ProviderOperation
from payments.models.idempotency import IdempotencyKey
from payments.models.merchant import ApiKey, Merchant, ProviderAccount
from payments.models.payment import Payment, Transition

__all__ = [
    "ApiKey",
    "Attempt",
    "IdempotencyKey",
    "Merchant",
    "Payment",
    "ProviderAccount",
    "ProviderOperation",
    "Transition",
]
