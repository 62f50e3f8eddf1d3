"""What every view of the API has in common: its keys, its refusals, its one format."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from payments.api import rate_limits
from payments.api.authentication import (
    ApiKeyAuthentication,
    PublishableKeyRequired,
    SecretKeyRequired,
    caller_of,
)
from payments.api.backpressure import pressure
from payments.api.parsers import StrictJSONParser
from payments.api.rendering import CompactJSONRenderer, OnlyJSON


class SecretKeyView(APIView):
    """A route for the merchant's server.

    `resource` is one of payments.scopes.RESOURCES: with the method it makes the scope that a
    restricted key needs here. Without one only secret keys are let in. `begins_payments` names the
    methods that wait while this installation does not keep up.
    """

    resource: ClassVar[str] = ""
    begins_payments: ClassVar[frozenset[str]] = frozenset()
    authentication_classes = [ApiKeyAuthentication]
    permission_classes: list[type[BasePermission]] = [SecretKeyRequired]
    parser_classes = [StrictJSONParser]
    renderer_classes = [CompactJSONRenderer]
    content_negotiation_class = OnlyJSON
    metadata_class = None  # OPTIONS is answered by the CORS middleware or not at all

    _standing: rate_limits.Standing | None = None

    def check_throttles(self, request: Request) -> None:
        """REST framework's place for limits: who asks is known, and nothing is read or written.

        Raises FlorinError (429).
        """
        caller, method = caller_of(request), str(request.method)
        self._standing = rate_limits.take(caller, method)
        if self._standing.retry_after_seconds:
            raise rate_limits.refusal(self._standing)
        if method in self.begins_payments:
            pressure.refuse_payment(caller.merchant.pk)

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        """Adds what is left of the rate limit to every answer to a known caller."""
        final = super().finalize_response(request, response, *args, **kwargs)
        if self._standing is not None:
            for name, value in self._standing.headers().items():
                final[name] = value
        return final


class PublishableKeyView(SecretKeyView):
    """A route for the payer's browser."""

    permission_classes = [PublishableKeyRequired]
