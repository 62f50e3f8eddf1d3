"""What every view of the API has in common: its keys, its refusals, its one format."""

from __future__ import annotations

from typing import ClassVar

from rest_framework.permissions import BasePermission
from rest_framework.views import APIView

from payments.api.authentication import (
    ApiKeyAuthentication,
    PublishableKeyRequired,
    SecretKeyRequired,
)
from payments.api.parsers import StrictJSONParser
from payments.api.rendering import CompactJSONRenderer, OnlyJSON


class SecretKeyView(APIView):
    """A route for the merchant's server.

    `resource` is one of payments.scopes.RESOURCES: with the method it makes the scope that a
    restricted key needs here. Without one only secret keys are let in.
    """

    resource: ClassVar[str] = ""
    authentication_classes = [ApiKeyAuthentication]
    permission_classes: list[type[BasePermission]] = [SecretKeyRequired]
    parser_classes = [StrictJSONParser]
    renderer_classes = [CompactJSONRenderer]
    content_negotiation_class = OnlyJSON
    metadata_class = None  # OPTIONS is answered by the CORS middleware or not at all


class PublishableKeyView(SecretKeyView):
    """A route for the payer's browser."""

    permission_classes = [PublishableKeyRequired]
