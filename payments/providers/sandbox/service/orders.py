"""Reading what a merchant asks the sandbox PSP for: every field checked, unknown ones refused."""

from __future__ import annotations

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
}


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
    confirm = body.get("confirm", False)
    if not isinstance(confirm, bool):
        raise _invalid("confirm", "confirm must be true or false.")
    texts = {}
    for name, longest in (("reference", 200), ("token", 64), ("return_url", 2_000)):
        texts[name] = _text(body, name, longest)
    if not texts["reference"]:
        raise _invalid("reference", "reference must be your own id of the payment.")
    return {
        "amount_minor": _amount(body.get("amount_minor")),
        "currency": currency,
        "capture": capture,
        "confirm": confirm,
        "description": _text(body, "description", 1_000),
        **texts,
    }


def read_capture(body: Mapping[str, Any]) -> int | None:
    """The amount to capture, or None for all of it. Raises Refusal 400."""
    value = body.get("amount_minor")
    return None if value is None else _amount(value)


def read_cancel(body: Mapping[str, Any]) -> str:
    """Why the payment is canceled. Raises Refusal 400."""
    reason = body.get("reason", "requested_by_customer")
    if reason not in _CANCEL_REASONS:
        raise _invalid("reason", f"reason must be one of {', '.join(_CANCEL_REASONS)}.")
    return str(reason)


def _amount(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _invalid("amount_minor", "amount_minor must be a whole number of minor units.")
    if not 1 <= value <= MAXIMUM_AMOUNT_MINOR:
        message = f"amount_minor must be between 1 and {MAXIMUM_AMOUNT_MINOR}."
        raise _invalid("amount_minor", message)
    return value


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
