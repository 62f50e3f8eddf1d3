"""The tables of the payments app, one file per aggregate."""

from payments.models.attempt import Attempt, ProviderOperation
from payments.models.breaker import ToldBreaker
from payments.models.capture import Capture
from payments.models.customer import (
    Customer,
    CustomerReference,
    Mandate,
    MethodOperation,
    PaymentMethod,
)
from payments.models.dispute import Dispute, EvidenceFile
from payments.models.event_sweep import EventSweep, LostWebhooks
from payments.models.idempotency import GivenUpRequest, IdempotencyKey
from payments.models.merchant import ApiKey, ApiKeyUse, Merchant, ProviderAccount
from payments.models.notification import (
    Notification,
    NotificationChannel,
    NotificationRule,
    NotificationWindow,
    StandingCondition,
)
from payments.models.payment import Payment, Transition
from payments.models.provider_endpoint import ProviderEndpoint, ProviderEndpointUse
from payments.models.refund import Refund
from payments.models.review import ReviewCase

__all__ = [
    "ApiKey",
    "ApiKeyUse",
    "Attempt",
    "Capture",
    "Customer",
    "CustomerReference",
    "Dispute",
    "EventSweep",
    "EvidenceFile",
    "GivenUpRequest",
    "IdempotencyKey",
    "LostWebhooks",
    "Mandate",
    "Merchant",
    "MethodOperation",
    "Notification",
    "NotificationChannel",
    "NotificationRule",
    "NotificationWindow",
    "Payment",
    "PaymentMethod",
    "ProviderAccount",
    "ProviderEndpoint",
    "ProviderEndpointUse",
    "ProviderOperation",
    "Refund",
    "ReviewCase",
    "StandingCondition",
    "ToldBreaker",
    "Transition",
]
