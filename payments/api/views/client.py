"""What a payer's browser may read, with a publishable key and the payment's client secret.

Mental model: the publishable key names the merchant and the mode, the client secret the payment.
The secret comes in a header, because addresses end up in logs and histories. The answer holds
what the provider's own script needs to confirm, and nothing about the merchant's books.
"""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from payments.access import current_attempt, payment_for
from payments.api import schema
from payments.api.authentication import caller_of
from payments.api.pagination import read_query
from payments.api.views.base import PublishableKeyView
from payments.errors import ErrorCode, FlorinError
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


class ClientPayment(PublishableKeyView):
    """`/v1/client/payments/{id}`"""

    @schema.retrieve_client_payment
    def get(self, request: Request, payment_id: str) -> Response:
        """Retrieve a payment from the payer's browser."""
        read_query(request.query_params, paged=False)
        presented = request.META.get("HTTP_CLIENT_SECRET", "")
        if not presented:
            raise FlorinError(
                ErrorCode.parameter_invalid,
                "Send the payment's client_secret in the header Client-Secret.",
                param="Client-Secret",
            )
        caller = caller_of(request)
        if not client_secret_matches(payment_id, presented):
            # The same words as for a payment that does not exist: the secret is the permission.
            raise FlorinError(ErrorCode.not_found, f"No such payment: {payment_id!r}.", param="id")
        payment = payment_for(caller.merchant, caller.livemode, payment_id)
        attempt = current_attempt(payment)
        shown = payment_object(payment, attempt)
        answer = {name: shown[name] for name in CLIENT_MEMBERS}
        secrets = client_secrets(payment_id, attempt)
        answer["provider_client_secret"] = secrets["provider_client_secret"]
        response = Response(answer)
        response["Cache-Control"] = "no-store"
        return response
