"""The form of a rule: who is told of what. Its cleaned data become payments.notifications.rules."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from payments.admin.forms import OnceForm
from payments.models import NotificationChannel, NotificationRule
from payments.notifications.kinds import KINDS
from payments.notifications.rules import Wanted


class RuleForm(OnceForm):
    """A new rule, or what an existing one shall be; the channel of that one stays."""

    name = forms.CharField(
        max_length=100,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Who or what it is for, such as “Finance on call”.",
    )
    channel = forms.ChoiceField(
        choices=NotificationChannel.choices, widget=UnfoldAdminSelectWidget()
    )
    addresses = forms.CharField(
        label="E-mail addresses",
        required=False,
        max_length=5000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="For e-mail: one on each line.",
    )
    webhook_url = forms.CharField(
        label="Address of the Slack webhook",
        required=False,
        max_length=2000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="For Slack: an incoming webhook. Stored encrypted and never shown again.",
    )
    mode = forms.ChoiceField(
        choices=NotificationRule.Mode.choices,
        widget=UnfoldAdminSelectWidget(),
        help_text="What concerns the installation itself is told in any case.",
    )
    kinds = forms.MultipleChoiceField(
        label="What is told",
        choices=[(kind.name, f"{kind.title} ({kind.audience})") for kind in KINDS.values()],
        initial=list(KINDS),
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
    )

    def __init__(self, *args: Any, rule: NotificationRule | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if rule is None:
            return
        del self.fields["channel"]
        del self.fields["webhook_url" if rule.channel == "email" else "addresses"]
        self.initial = {
            "name": rule.name,
            "addresses": "\n".join(rule.addresses),
            "mode": rule.mode,
            "kinds": rule.kinds,
        }
        if rule.channel == "slack":
            self.fields["webhook_url"].help_text = "Leave empty to keep the one that is stored."

    def wanted(self) -> Wanted:
        """The rule as it was asked for."""
        return Wanted(
            name=self.cleaned_data["name"],
            kinds=self.cleaned_data["kinds"],
            mode=self.cleaned_data["mode"],
            addresses=str(self.cleaned_data.get("addresses", "")).split(),
            webhook_url=self.cleaned_data.get("webhook_url", ""),
        )
