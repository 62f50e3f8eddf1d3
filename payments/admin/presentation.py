"""How values look on every page of the back office: money, times, badges, links, JSON.

Mental model: pure functions from a value to safe HTML or text, so that the list, the payment
page, the story and the landing page show one thing in one way. Money is formatted from its minor
units with the currency's own exponent and never passes through a float.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ledger import money
from payments.admin import wording

_NO_BREAK_SPACE = "\u00a0"
# Members of a technical record that are never shown, however they got there.
_SECRET_MEMBERS = (
    "secret",
    "password",
    "authorization",
    "api_key",
    "credential",
    "hashed_key",
    "signature",
    "token",
    "cookie",
    "csrf",
)
_SECRET_STARTS = ("sk_", "rk_", "whsec_", "Bearer ", "Basic ")
_KEY_PREFIX_LENGTH = 14  # that much of a key is kept in clear, so that people can tell keys apart
_HIDDEN = "••• (hidden)"
# A token in Florin's own records names a payment method, which staff may read.
_HARMLESS_MEMBERS = ("payment_method_token", "lease_token", "api_key_id")


def money_text(amount_minor: int | None, currency: str) -> str:
    """1234567 EUR as "12,345.67 EUR"; an amount that is not known is a dash."""
    if amount_minor is None:
        return "–"
    return f"{money_digits(amount_minor, currency)}{_NO_BREAK_SPACE}{currency}"


def money_digits(amount_minor: int, currency: str) -> str:
    """The amount alone, with thousands separated and as many decimals as the currency has."""
    try:
        decimals = money.exponent(currency)
    except ValueError:  # a currency that was struck from the list still has old payments
        return f"{amount_minor:,} minor units"
    sign = "-" if amount_minor < 0 else ""
    whole, rest = divmod(abs(amount_minor), 10**decimals)
    return f"{sign}{whole:,}.{rest:0{decimals}d}" if decimals else f"{sign}{whole:,}"


def badge(label: str, tone: str, *, title: str = "") -> SafeString:
    """A coloured word. The word alone says everything; the colour only helps."""
    return format_html(
        '<span class="florin-badge florin-{}" title="{}">{}</span>', tone, title, label
    )


def state_badge(state: str) -> SafeString:
    """A payment's state."""
    words = wording.state_words(state)
    return badge(words.label, words.tone, title=words.sentence)


def mode_badge(livemode: bool) -> SafeString:
    """Live and test must never be mistaken for each other."""
    if livemode:
        return badge("Live", "live", title="Real money.")
    return badge("Test", "test", title="No real money: made with a test key.")


def moment_text(moment: datetime | None) -> str:
    """A time in UTC to the second, "20 Nov 2026, 19:04:33"."""
    if moment is None:
        return "–"
    return moment.astimezone(timezone.get_default_timezone()).strftime("%d %b %Y, %H:%M:%S")


def age_text(age: timedelta | None) -> str:
    """A duration in its largest useful unit: "8 s", "3 min", "2 h", "5 days"."""
    if age is None:
        return "–"
    seconds = max(0, int(age.total_seconds()))
    if seconds < 120:
        return f"{seconds}{_NO_BREAK_SPACE}s"
    if seconds < 7200:
        return f"{seconds // 60}{_NO_BREAK_SPACE}min"
    if seconds < 172_800:
        return f"{seconds // 3600}{_NO_BREAK_SPACE}h"
    return f"{seconds // 86_400}{_NO_BREAK_SPACE}days"


def pretty_json(value: Any) -> str:
    """JSON as people read it, with everything that smells of a secret hidden."""
    return json.dumps(without_secrets(value), indent=2, ensure_ascii=False, default=str)


def without_secrets(value: Any) -> Any:
    """A copy of a JSON value in which secret members are replaced by a mark.

    The records shown hold none by construction; this is the second lock on the same door.
    """
    if isinstance(value, Mapping):
        return {
            key: _HIDDEN if _is_secret(str(key), member) else without_secrets(member)
            for key, member in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(member) for member in value]
    if isinstance(value, str):
        return _without_secret_text(value)
    return value


def _is_secret(name: str, member: Any) -> bool:
    lowered = name.lower().replace("-", "_")
    if lowered in _HARMLESS_MEMBERS or not member or isinstance(member, bool | int):
        return False
    return any(part in lowered for part in _SECRET_MEMBERS)


def _without_secret_text(text: str) -> str:
    """Keys and client secrets are recognised by their own form wherever they stand."""
    starts = text.startswith(_SECRET_STARTS) and len(text) > _KEY_PREFIX_LENGTH
    return _HIDDEN if starts or "_secret_" in text else text


def admin_link(
    model: str, object_id: str, label: str, *, app: str = "payments"
) -> SafeString | str:
    """A link to an object's page, or the plain label where there is no such page."""
    if not object_id:
        return "–"
    try:
        url = reverse(f"admin:{app}_{model}_change", args=[object_id])
    except NoReverseMatch:
        return label
    return format_html('<a class="florin-link" href="{}">{}</a>', url, label)


def identifier(value: str) -> SafeString | str:
    """An id in a face in which O and 0 differ."""
    if not value:
        return "–"
    return format_html('<code class="florin-id">{}</code>', value)


def short_identifier(value: str) -> SafeString | str:
    """An id for a list: its kind and its end, which differ; the whole id when pointed at."""
    kind, _, rest = value.rpartition("_")
    if len(rest) < 12:
        return identifier(value)
    return format_html(
        '<code class="florin-id florin-short" title="{}">{}_…{}</code>', value, kind, rest[-8:]
    )


def method_text(method: dict[str, Any]) -> str:
    """A payment method as the provider summed it up: "Visa card ending in 4242"."""
    if not method:
        return "–"
    details = method.get("card") or method.get(str(method.get("type"))) or method
    details = details if isinstance(details, dict) else method
    brand = str(details.get("brand") or "").replace("_", " ").title()
    kind = str(method.get("type") or "").replace("_", " ")
    last4 = details.get("last4")
    words = " ".join(part for part in (brand, kind) if part) or "Known to the provider"
    return f"{words} ending in {last4}" if last4 else words
