"""The page the payer sees for the 3-D Secure step: two buttons, then back to the merchant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from payments.providers.sandbox.service.wire import Response

# What may stand in a Location header: visible ASCII, so nothing can be smuggled in.
_WEB_ADDRESS = re.compile(r"https?://[\x21-\x7e]+")
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Test bank</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:28rem;margin:15vh auto;padding:0 1rem}}
button{{font:inherit;padding:.6rem 1.2rem;margin-right:.5rem}}</style></head>
<body><h1>Test bank</h1>{content}</body></html>"""
_FORM = """<p>A shop asks for {amount} {currency} (minor units). Nothing real happens here.</p>
<form method="post"><input type="hidden" name="client_secret" value="{secret}">
<button name="result" value="succeed">Approve</button>
<button name="result" value="fail">Refuse</button></form>"""


def challenge(payment: Mapping[str, Any]) -> Response:
    """The question, while the payment waits for it; else what became of it."""
    if payment["status"] != "requires_action":
        return _page(f"<p>This payment is {escape(payment['status'])}.</p>")
    return _page(
        _FORM.format(
            amount=payment["amount_minor"],
            currency=escape(payment["currency"]),
            secret=escape(payment["client_secret"]),
        )
    )


def done(payment: Mapping[str, Any]) -> Response:
    """Back to the merchant's page, or a closing word where the merchant gave none."""
    if _WEB_ADDRESS.fullmatch(payment["return_url"] or ""):
        return Response(status=303, raw=b" ", headers=(("Location", payment["return_url"]),))
    return _page(f"<p>This payment is {escape(payment['status'])}. You may close this page.</p>")


def _page(content: str) -> Response:
    raw = _PAGE.format(content=content).encode()
    return Response(status=200, raw=raw, content_type="text/html; charset=utf-8")
