"""Template filters of the back office: the functions of payments.admin.presentation, by name."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils.safestring import SafeString

from payments.admin import presentation

register = template.Library()


@register.filter
def money(amount_minor: int | None, currency: str) -> str:
    """`{{ payment.amount_minor|money:payment.currency }}`."""
    return presentation.money_text(amount_minor, currency)


@register.filter
def badge(label: str, tone: str) -> SafeString:
    """`{{ "Dead"|badge:"bad" }}`."""
    return presentation.badge(label, tone)


@register.filter
def state(state: str) -> SafeString:
    """A payment's state as a badge."""
    return presentation.state_badge(state)


@register.filter
def mode(livemode: bool) -> SafeString:
    """Live or test as a badge."""
    return presentation.mode_badge(livemode)


@register.filter
def moment(value: datetime | None) -> str:
    """A time in UTC."""
    return presentation.moment_text(value)


@register.filter
def clock_time(value: datetime) -> str:
    """The time of day in UTC with milliseconds, "19:04:33.120"."""
    return value.strftime("%H:%M:%S.") + f"{value.microsecond // 1000:03d}"


@register.filter
def day(value: datetime) -> str:
    """The day in UTC, "Friday, 20 November 2026"."""
    return value.strftime("%A, %d %B %Y").replace(" 0", " ")


@register.filter
def method(value: dict[str, object]) -> str:
    """A payment method in words."""
    from payments.admin.payments import method_text

    return method_text(value)
