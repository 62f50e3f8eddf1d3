"""The forms about dead letters: words for a discard, and a filter for many at once.

Mental model: a form's cleaned data are the arguments of one function of this app. The filter form
is sent by GET, so that what it shows can be shared; only starting a run is a POST.
"""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.forms import ActionForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from webhooks.admin.reading import Moment
from webhooks.dead_letter_filter import KIND_WORDS, Filter
from webhooks.handlers import registered

REASON_MAX = 500


class ReasonForm(ActionForm):
    """The choice of a verb, and words for the one that needs them."""

    reason = forms.CharField(
        required=False,
        max_length=REASON_MAX,
        label="",
        widget=UnfoldAdminTextInputWidget(
            {"placeholder": "Reason (to discard)", "aria-label": "Reason (to discard)"}
        ),
    )


def _text(label: str, help_text: str = "") -> forms.CharField:
    return forms.CharField(
        required=False,
        max_length=200,
        label=label,
        help_text=help_text,
        widget=UnfoldAdminTextInputWidget(),
    )


class FilterForm(forms.Form):
    """Which dead letters are meant; `wanted` is the filter of a valid form."""

    kind = forms.ChoiceField(
        required=False,
        label="Kind",
        choices=[("", "All kinds"), *((kind, words) for kind, words in KIND_WORDS.items())],
        widget=UnfoldAdminSelectWidget(),
    )
    handler = forms.ChoiceField(required=False, label="Handler", widget=UnfoldAdminSelectWidget())
    endpoint_id = _text("Endpoint", "The whole id, we_…")
    event_type = _text("Event type", "payment.settled, or a family: payment.*")
    reason_contains = _text("Reason contains")
    since = Moment("Died since (UTC)")
    until = Moment("Died before (UTC)")

    wanted: Filter

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        handler = self.fields["handler"]
        assert isinstance(handler, forms.ChoiceField)
        names = {entry.name for entry in registered()} | {self.data.get("handler", "")} - {""}
        handler.choices = [("", "Any"), *((name, name) for name in sorted(names))]

    def clean(self) -> dict[str, Any]:
        """Build the filter, so that what cannot match is said on the form."""
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                self.wanted = Filter(**cleaned)
            except ValueError as refusal:
                raise forms.ValidationError(str(refusal)) from None
        return cleaned
