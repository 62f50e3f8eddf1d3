"""What a payer's browser may read and tell, with a publishable key and the payment's client secret.

Mental model: the publishable key names the merchant and the mode, the client secret the payment.
The secret comes in a header, because addresses end up in logs and histories. The answer holds
what the provider's own script needs to confirm, and nothing about the merchant's books. Telling
that the payer is back moves no money and changes nothing twice, so it takes no Idempotency-Key.
The live stream of the same payment (payments.api.stream) is served by a process of its own.
"""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from payments.access import current_attempt, payment_for
from payments.actions.update_payment import note_payer_return
from payments.api import payment_schema as schema
from payments.api.authentication import caller_of
from payments.api.client_payment import client_payment, require_client_secret
from payments.api.fields import validated
from payments.api.once import clock
from payments.api.pagination import read_query
from payments.api.serializers import NoParametersBody
from payments.api.views.base import PublishableKeyView
from payments.models import Payment


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
    require_client_secret(payment_id, request.META.get("HTTP_CLIENT_SECRET", ""))
    caller = caller_of(request)
    return payment_for(caller.merchant, caller.livemode, payment_id)


def _shown(payment: Payment) -> Response:
    response = Response(client_payment(payment, current_attempt(payment)))
    response["Cache-Control"] = "no-store"
    return response
