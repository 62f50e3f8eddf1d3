"""Reading what a merchant asks the sandbox PSP for: every field checked, unknown ones refused."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from payments.providers.sandbox.service.wire import Refusal

MAXIMUM_AMOUNT_MINOR = 99_999_999
_CURRENCY = re.compile(r"[A-Z]{3}")
_CANCEL_REASONS = ("requested_by_customer", "abandoned", "duplicate", "fraudulent")
_ORDER_FIELDS = {
    "amount_minor",
    "currency",
    "reference",
    "capture",
    "confirm",
    "token",
    "return_url",
    "description",
    "customer",
    "off_session",
}
_REFUND_REASONS = ("", "duplicate", "fraudulent", "requested_by_customer")
_FILE_TYPES = ("application/pdf", "image/png", "image/jpeg")
_LONGEST_EVIDENCE = 20_000


def read_order(body: Mapping[str, Any]) -> dict[str, Any]:
    """The checked parameters of a new payment. Raises Refusal 400 that names the field."""
    for name in body.keys() - _ORDER_FIELDS:
        raise _invalid(name, f"There is no field {name!r}.")
    currency = body.get("currency")
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise _invalid("currency", "currency must be three capital letters.")
    capture = body.get("capture", "automatic")
    if capture not in {"automatic", "manual"}:
        raise _invalid("capture", "capture must be automatic or manual.")
    texts = {}
    for name, longest in (
        ("reference", 200),
        ("token", 64),
        ("customer", 64),
        ("return_url", 2_000),
        ("description", 1_000),
    ):
        texts[name] = _text(body, name, longest)
    if not texts["reference"]:
        raise _invalid("reference", "reference must be your own id of the payment.")
    return {
        "amount_minor": required_amount(body),
        "currency": currency,
        "capture": capture,
        "confirm": _flag(body, "confirm", default=False),
        "off_session": _flag(body, "off_session", default=False),
        **texts,
    }


def read_capture(body: Mapping[str, Any]) -> dict[str, Any]:
    """How much to capture (None: all that is held), and whether it is the last capture.

    Raises Refusal 400.
    """
    return {
        "amount_minor": read_amount(body, optional=True),
        "final": _flag(body, "final", default=True),
        "reference": _text(body, "reference", 200),
    }


def read_refund(body: Mapping[str, Any]) -> dict[str, Any]:
    """How much to give back (None: all that is left), and why. Raises Refusal 400."""
    reason = body.get("reason") or ""
    if reason not in _REFUND_REASONS:
        raise _invalid("reason", f"reason must be one of {', '.join(_REFUND_REASONS[1:])}.")
    return {
        "amount_minor": read_amount(body, optional=True),
        "reference": _text(body, "reference", 200),
        "reason": reason,
    }


def read_evidence(body: Mapping[str, Any]) -> dict[str, Any]:
    """Evidence texts by field, and files, of which the size is kept. Raises Refusal 400."""
    texts, files = body.get("texts", {}), body.get("files", [])
    if not isinstance(texts, dict) or not all(_is_evidence_text(one) for one in texts.items()):
        message = f"texts must be fields with words, {_LONGEST_EVIDENCE} characters at most."
        raise _invalid("texts", message)
    if not isinstance(files, list) or not all(isinstance(one, dict) for one in files):
        raise _invalid("files", "files must be a list of objects.")
    if not texts and not files:
        raise _invalid("texts", "Hand in at least one text or file.")
    return {"texts": texts, "files": [_read_file(one) for one in files]}


def read_customer(body: Mapping[str, Any]) -> dict[str, Any]:
    """A customer's reference, e-mail and name. Raises Refusal 400."""
    return {name: _text(body, name, 320) for name in ("reference", "email", "name")}


def read_method(body: Mapping[str, Any]) -> dict[str, Any]:
    """A token to save, for a customer of ours or a new one, with what the payer agreed to.

    Raises Refusal 400.
    """
    mandate = body.get("mandate") or {}
    if not isinstance(mandate, dict):
        raise _invalid("mandate", "mandate must be an object.")
    wish: dict[str, Any] = read_customer(body)
    for name in ("token", "customer", "customer_reference"):
        wish[name] = _text(body, name, 200)
    names = ("accepted_at", "ip_address", "user_agent")
    return {**wish, "mandate": {name: _text(mandate, name, 1_000) for name in names}}


def read_cancel(body: Mapping[str, Any]) -> str:
    """Why the payment is canceled. Raises Refusal 400."""
    reason = body.get("reason", "requested_by_customer")
    if reason not in _CANCEL_REASONS:
        raise _invalid("reason", f"reason must be one of {', '.join(_CANCEL_REASONS)}.")
    return str(reason)


def read_amount(body: Mapping[str, Any], *, optional: bool = False) -> int | None:
    """`amount_minor`; absent and null are None where that is allowed. Raises Refusal 400."""
    value = body.get("amount_minor")
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise _invalid("amount_minor", "amount_minor must be a whole number of minor units.")
    if not 1 <= value <= MAXIMUM_AMOUNT_MINOR:
        message = f"amount_minor must be between 1 and {MAXIMUM_AMOUNT_MINOR}."
        raise _invalid("amount_minor", message)
    return value


def required_amount(body: Mapping[str, Any]) -> int:
    """`amount_minor`, which has to be there. Raises Refusal 400."""
    return read_amount(body) or 0


def _flag(body: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise _invalid(name, f"{name} must be true or false.")
    return value


def _is_evidence_text(entry: tuple[str, Any]) -> bool:
    name, words = entry
    return 0 < len(name) <= 64 and isinstance(words, str) and len(words) <= _LONGEST_EVIDENCE


def _read_file(given: Mapping[str, Any]) -> dict[str, Any]:
    content_type = given.get("content_type")
    if content_type not in _FILE_TYPES:
        raise _invalid("files", f"A file's content_type must be one of {', '.join(_FILE_TYPES)}.")
    try:
        content = base64.b64decode(str(given.get("content_base64", "")), validate=True)
    except ValueError:
        raise _invalid("files", "A file's content_base64 is not base64.") from None
    if not content:
        raise _invalid("files", "A file is empty.")
    return {
        "kind": _text(given, "kind", 64),
        "filename": _text(given, "filename", 255),
        "content_type": content_type,
        "size_bytes": len(content),
    }


def _text(body: Mapping[str, Any], name: str, longest: int) -> str:
    value = body.get(name) or ""
    if not isinstance(value, str) or len(value) > longest:
        raise _invalid(name, f"{name} must be a string of at most {longest} characters.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _invalid(name, f"{name} holds half a character.") from None
    return value


def _invalid(param: str, message: str) -> Refusal:
    return Refusal(400, "invalid_request", "invalid", message, param=param)
