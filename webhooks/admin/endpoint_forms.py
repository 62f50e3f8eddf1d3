"""The forms of a merchant's endpoint, one per verb. They check words and numbers, nothing else.

Mental model: a form's cleaned data are arguments of webhooks.endpoints or webhooks.recovery, whose
refusals are shown at the field that they name.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils.dateparse import parse_datetime
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from webhooks import recovery
from webhooks.admin.reading import Moment

_URL_MAX = 2000
_DESCRIPTION_MAX = 500
_OVERLAPS = [
    ("0", "None: the old one ends now"),
    ("1", "1 hour"),
    ("24", "1 day"),
    ("72", "3 days"),
    ("168", "7 days"),
]


class EventTypes(forms.Field):
    """Event types, families or `*`, between spaces, commas or line breaks; cleaned to a list."""

    widget = UnfoldAdminTextareaWidget

    def __init__(self, **options: Any) -> None:
        options.setdefault("label", "Events")
        options.setdefault("help_text", "payment.settled, a family: payment.*, or * for all.")
        super().__init__(widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}), **options)

    def to_python(self, value: Any) -> list[str]:
        if isinstance(value, list):
            return value
        return str(value or "").replace(",", " ").split()

    def has_changed(self, initial: Any, data: Any) -> bool:
        return set(initial or ()) != set(self.to_python(data))

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value


class EndpointForm(forms.Form):
    """What an endpoint is; the arguments of endpoints.create, and of update what has changed."""

    url = forms.CharField(
        label="Address",
        max_length=_URL_MAX,
        widget=UnfoldAdminTextInputWidget(),
        help_text="On the public internet; https, in test mode http too. It is judged now and "
        "again before every request.",
    )
    event_types = EventTypes()
    description = forms.CharField(
        max_length=_DESCRIPTION_MAX, required=False, widget=UnfoldAdminTextInputWidget()
    )


class RotateSecretForm(forms.Form):
    """How long the old secret goes on. `ticket` is when the endpoint, as it was shown, had been
    changed last, so that a form that is sent twice makes one secret.
    """

    overlap = forms.TypedChoiceField(
        label="The old secret signs too for",
        choices=_OVERLAPS,
        initial="24",
        coerce=lambda hours: timedelta(hours=int(hours)),
        widget=UnfoldAdminSelectWidget(),
        help_text="Time to bring the new one everywhere. None where the old one has leaked.",
    )
    ticket = forms.CharField(widget=forms.HiddenInput, required=False)

    seen: datetime

    def clean(self) -> dict[str, Any]:
        """Read the ticket, without which nothing is made."""
        cleaned = super().clean() or self.cleaned_data
        try:
            seen = parse_datetime(cleaned.get("ticket", ""))
        except ValueError:
            seen = None
        if seen is None or seen.tzinfo is None:
            raise forms.ValidationError("This form was not complete; nothing was done.")
        self.seen = seen
        return cleaned


class DeleteForm(forms.Form):
    """Why an endpoint goes."""

    reason = forms.CharField(
        max_length=500,
        label="Why",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="These words stay in the audit trail.",
    )


class DisableForm(forms.Form):
    """Why nothing is sent any more; the merchant reads these words."""

    reason = forms.CharField(
        max_length=500,
        label="Why",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="The merchant sees these words in the API, and they stay in the audit trail.",
    )


class RecoverForm(forms.Form):
    """From when on; counted before anything happens."""

    since = Moment("Since (UTC)", required=True)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["since"].help_text = f"At most {recovery.DAYS_MAX} days ago."
