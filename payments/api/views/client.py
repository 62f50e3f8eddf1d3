"""What a payer's browser may read and tell, with a publishable key and the payment's client secret.

Mental model: the publishable key names the merchant and the mode, the client secret the payment.
The secret comes in a header, because addresses end up in logs and histories. The answer holds
what the provider's own script needs to confirm, and nothing about the merchant's books. Telling
that the payer is back moves no money and changes nothing twice, so it takes no Idempotency-Key.
"""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from payments.access import current_attempt, payment_for
from payments.actions.update_payment import note_payer_return
from payments.api import payment_schema as schema
from payments.api.authentication import caller_of
from payments.api.fields import validated
from payments.api.once import clock
from payments.api.pagination import read_query
from payments.api.serializers import NoParametersBody
from payments.api.views.base import PublishableKeyView
from payments.errors import ErrorCode, FlorinError
from payments.models import Payment
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
        return _shown(_payment(request, payment_id))


class ClientPaymentReturn(PublishableKeyView):
    """`/v1/client/payments/{id}/return`"""

    @schema.note_client_return
    def post(self, request: Request, payment_id: str) -> Response:
        """Tell that the payer is back: the provider is asked at once how it went."""
        validated(NoParametersBody, request.data)
        payment = _payment(request, payment_id)
        note_payer_return(payment.pk, clock=clock)
        return _shown(_payment(request, payment_id))


def _payment(request: Request, payment_id: str) -> Payment:
    """The payment that the client secret in the header opens. Raises FlorinError."""
    presented = request.META.get("HTTP_CLIENT_SECRET", "")
    if not presented:
        raise FlorinError(
            ErrorCode.parameter_invalid,
            "Send the payment's client_secret in the header Client-Secret.",
            param="Client-Secret",
        )
    if not client_secret_matches(payment_id, presented):
        # The same words as for a payment that does not exist: the secret is the permission.
        raise FlorinError(ErrorCode.not_found, f"No such payment: {payment_id!r}.", param="id")
    caller = caller_of(request)
    return payment_for(caller.merchant, caller.livemode, payment_id)


def _shown(payment: Payment) -> Response:
    attempt = current_attempt(payment)
    shown = payment_object(payment, attempt)
    answer = {name: shown[name] for name in CLIENT_MEMBERS}
    secrets = client_secrets(payment.pk, attempt)
    answer["provider_client_secret"] = secrets["provider_client_secret"]
    response = Response(answer)
    response["Cache-Control"] = "no-store"
    return response
