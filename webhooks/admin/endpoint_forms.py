"""The forms of a merchant's endpoint: why it is disabled, and from when on it is recovered."""

from __future__ import annotations

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

from webhooks import recovery
from webhooks.admin.reading import Moment


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
