"""What a payer's page may know of a payment, and what opens it: for the views and the stream alike.

Mental model: the publishable key names the merchant and the mode, the client secret the payment.
Whoever asks with a wrong secret, another merchant's key or for a payment that does not exist gets
the same words.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

from payments.access import no_such_payment
from payments.errors import ErrorCode, FlorinError
from payments.models import Attempt, Payment
from payments.representation import client_secret_matches, client_secrets, payment_object

CLIENT_MEMBERS = (
    "id",
    "object",
    "livemode",
    "status",
    "amount_minor",
    "currency",
    "capture_method",
    "description",
    "return_url",
    "next_action",
    "last_error",
    "provider",
)


def require_client_secret(payment_id: str, presented: str) -> None:
    """Raises FlorinError unless `presented`, the header Client-Secret, opens the payment."""
    if not presented:
        raise FlorinError(
            ErrorCode.parameter_invalid,
            "Send the payment's client_secret in the header Client-Secret.",
            param="Client-Secret",
        )
    if not client_secret_matches(payment_id, presented):
        # The same words as for a payment that does not exist: the secret is the permission.
        raise no_such_payment(payment_id)


def client_payment(payment: Payment, attempt: Attempt | None) -> dict[str, Any]:
    """The payment as its payer's page sees it: what the provider's own script needs to confirm,
    where to watch it, and nothing about the merchant's books.
    """
    shown = payment_object(payment, attempt)
    answer = {name: shown[name] for name in CLIENT_MEMBERS}
    secrets = client_secrets(payment.pk, attempt)
    answer["provider_client_secret"] = secrets["provider_client_secret"]
    answer["stream_url"] = f"{settings.FLORIN_STREAM_URL}/v1/client/payments/{payment.pk}/stream"
    return answer
