"""Template filters of the back office: the functions of payments.admin.presentation, by name.

Imported inside the functions: unfold renders a template while it is itself being imported, which
loads every tag library, and payments.admin needs unfold to be complete.
"""

from __future__ import annotations

from datetime import datetime
from types import ModuleType
from typing import Any

from django import template
from django.utils.safestring import SafeString

register = template.Library()


def _presentation() -> ModuleType:
    from payments.admin import presentation

    return presentation


@register.filter
def money(amount_minor: int | None, currency: str) -> str:
    """`{{ payment.amount_minor|money:payment.currency }}`."""
    return str(_presentation().money_text(amount_minor, currency))


@register.filter
def badge(label: str, tone: str) -> SafeString:
    """`{{ "Dead"|badge:"bad" }}`."""
    shown: SafeString = _presentation().badge(label, tone)
    return shown


@register.filter
def state(state: str) -> SafeString:
    """A payment's state as a badge."""
    shown: SafeString = _presentation().state_badge(state)
    return shown


@register.filter
def mode(livemode: bool) -> SafeString:
    """Live or test as a badge."""
    shown: SafeString = _presentation().mode_badge(livemode)
    return shown


@register.filter
def moment(value: datetime | None) -> str:
    """A time in UTC."""
    return str(_presentation().moment_text(value))


@register.filter
def clock_time(value: datetime) -> str:
    """The time of day in UTC with milliseconds, "19:04:33.120"."""
    return value.strftime("%H:%M:%S.") + f"{value.microsecond // 1000:03d}"


@register.filter
def day(value: datetime) -> str:
    """The day in UTC, "Friday, 20 November 2026"."""
    return value.strftime("%A, %d %B %Y").replace(" 0", " ")


@register.filter
def method(value: dict[str, Any]) -> str:
    """A payment method in words."""
    return str(_presentation().method_text(value))


@register.filter
def heading(title: object) -> str:
    """A title with a capital first letter; of one that begins with an id the id alone, because
    what follows there is written for engineers.
    """
    text = str(title)
    first_word = text.partition(" ")[0]
    return first_word if "_" in first_word else text[:1].upper() + text[1:]


@register.filter
def case_label(kind: str) -> str:
    """What a review case is about."""
    from payments.admin import wording_parts

    return wording_parts.case_words(kind).label


@register.filter
def deadline(dispute: Any, now: datetime) -> SafeString | str:
    """How much time is left to answer a dispute."""
    from payments.admin import disputes

    return disputes.deadline_badge(dispute, now=now)


@register.inclusion_tag("admin/florin/chart.html")
def days_by_outcome(days: list[tuple[datetime, Any]], label: str) -> dict[str, Any]:
    """Bars of what succeeded and failed on each day: (day, something with both counts)."""
    from payments.admin.charts import Bucket, chart

    picture = chart(
        [
            Bucket(
                label=f"{begin:%d %b}",
                words=f"{begin:%d %b}: {tally.succeeded} succeeded, {tally.failed} failed",
                parts=(("florin-bar-good", tally.succeeded), ("florin-bar-bad", tally.failed)),
            )
            for begin, tally in days
        ]
    )
    return {
        "chart": picture,
        "label": label,
        "scale": f"{picture.highest} per day",
        "none": "No requests in these days.",
    }
