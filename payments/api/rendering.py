"""Values to bytes: the API speaks JSON, whatever an Accept header wishes for.

Mental model: there is one representation, so there is nothing to negotiate; a client that asks for
something else still gets the JSON it can show to a person, as with most payment APIs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.utils.mediatypes import media_type_matches


def to_json(value: Any) -> bytes:
    """Compact UTF-8 JSON; a value that JSON does not know is a bug and raises TypeError."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


class CompactJSONRenderer(BaseRenderer):
    """`application/json`, compact."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else to_json(data)


class OnlyJSON(BaseContentNegotiation):
    """The first renderer always; the parser whose media type the body declares."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        for parser in parsers:
            if media_type_matches(str(parser.media_type), request.content_type):
                return parser
        return None

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, str(renderer.media_type)
