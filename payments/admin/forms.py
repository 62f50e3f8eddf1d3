"""The few forms of the back office, one per verb. They check words and numbers, nothing else.

Mental model: a form's cleaned data are exactly the arguments of one action. Credentials are typed
in and never shown again: their fields are never filled from what is stored. `once` makes a form
that issues something count a single time, however often its button is pressed.
"""

from __future__ import annotations

import re
import secrets
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminEmailInputWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from payments.models import ApiKey
from payments.scopes import SCOPES, scope_words

# What a ticket looks like: 12 random bytes.
TICKET = re.compile(r"[A-Za-z0-9_-]{16}")
_OPEN_FORMS = "florin_open_forms"
_OPEN_FORMS_MAX = 20
MODES = [("test", "Test: no real money"), ("live", "Live: real money")]
_OVERLAPS = [
    ("0", "None: the old one ends now"),
    ("1", "1 hour"),
    ("24", "1 day"),
    ("72", "3 days"),
    ("168", "7 days"),
]
_KEY_DAYS_MAX = 3650
_MINOR_MAX = 9_223_372_036_854_775_807


class OnceForm(forms.Form):
    """A form with a ticket that is torn when it is used."""

    ticket = forms.CharField(widget=forms.HiddenInput, required=False)

    @property
    def livemode(self) -> bool:
        """True when the form's mode is live."""
        return bool(self.cleaned_data.get("mode") == "live")


def new_ticket(request: HttpRequest) -> str:
    """A ticket for a form that is about to be shown, remembered in the session."""
    ticket = secrets.token_urlsafe(12)
    request.session[_OPEN_FORMS] = [*request.session.get(_OPEN_FORMS, []), ticket][
        -_OPEN_FORMS_MAX:
    ]
    return ticket


def tear_ticket(request: HttpRequest, ticket: str) -> bool:
    """True the first time a ticket is presented."""
    tickets = list(request.session.get(_OPEN_FORMS, []))
    if ticket not in tickets:
        return False
    tickets.remove(ticket)
    request.session[_OPEN_FORMS] = tickets
    request.session.save()
    return True


def _review_limit_field() -> forms.IntegerField:
    return forms.IntegerField(
        label="Payments above this wait for a person, in minor units",
        min_value=0,
        max_value=_MINOR_MAX,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="100000 is 1,000.00 EUR, or 100,000 JPY. A payment above it is held before the "
        "provider is asked, and waits under “Review cases”. Leave empty for no limit.",
    )


class MerchantForm(OnceForm):
    """A new merchant; the arguments of create_merchant."""

    name = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget())
    email = forms.EmailField(
        label="E-mail address", max_length=254, widget=UnfoldAdminEmailInputWidget()
    )
    fee_basis_points = forms.IntegerField(
        label="Our fee, in basis points",
        min_value=0,
        max_value=10_000,
        initial=0,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Hundredths of a percent of each captured payment: 150 is 1.5 %.",
    )
    fee_fixed_minor = forms.IntegerField(
        label="Our fixed fee, in minor units",
        min_value=0,
        max_value=_MINOR_MAX,
        initial=0,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Added per captured payment, in its own currency: 20 is 0.20 EUR, or 20 JPY.",
    )
    review_above_minor = _review_limit_field()


def _overlap_field(label: str, help_text: str) -> forms.TypedChoiceField:
    """How long what is replaced goes on beside what replaces it; cleaned to a timedelta."""
    return forms.TypedChoiceField(
        label=label,
        choices=_OVERLAPS,
        initial="24",
        coerce=lambda hours: timedelta(hours=int(hours)),
        widget=UnfoldAdminSelectWidget(),
        help_text=help_text,
    )


class ApiKeyForm(OnceForm):
    """A new key; the arguments of issue_api_key."""

    kind = forms.ChoiceField(
        choices=[
            (ApiKey.Kind.SECRET.value, "Secret: for the merchant's servers"),
            (ApiKey.Kind.RESTRICTED.value, "Restricted: for one program, with the scopes below"),
            (ApiKey.Kind.PUBLISHABLE.value, "Publishable: for web pages and apps"),
        ],
        widget=UnfoldAdminSelectWidget(),
    )
    mode = forms.ChoiceField(choices=MODES, widget=UnfoldAdminSelectWidget())
    name = forms.CharField(
        max_length=100,
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="What it is for, so that people can tell keys apart.",
    )
    scopes = forms.MultipleChoiceField(
        label="What a restricted key may do",
        choices=[(scope, scope_words(scope)) for scope in SCOPES],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text="For restricted keys only, and as little as its program needs.",
    )
    days = forms.IntegerField(
        label="Expires after so many days",
        min_value=1,
        max_value=_KEY_DAYS_MAX,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Leave empty for a key without an end.",
    )

    def __init__(self, *args: Any, may_issue_live: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not may_issue_live:
            mode = self.fields["mode"]
            assert isinstance(mode, forms.ChoiceField)
            mode.choices = MODES[:1]
            mode.help_text = "Live keys need the permission of the group “Live keys”."


class RotateKeyForm(OnceForm):
    """A successor for a key; the arguments of rotate_api_key."""

    overlap = _overlap_field(
        "The old key goes on for",
        "Time to bring the new key everywhere. Revoking the old one ends it earlier.",
    )


class ReasonForm(OnceForm):
    """Why something is done; the words stay in the audit trail."""

    reason = forms.CharField(
        max_length=500,
        label="Why",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="These words stay in the audit trail.",
    )


class ReviewLimitForm(ReasonForm):
    """From which amount on a merchant's payments wait; the arguments of set_review_limit."""

    review_above_minor = _review_limit_field()
    field_order = ("review_above_minor", "reason")


class ProviderKeyForm(OnceForm):
    """A new key for an account; the arguments of replace_provider_key."""

    secret_key = forms.CharField(
        label="Secret key at the provider",
        max_length=500,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Stored encrypted and never shown again.",
    )


class _WebhookSecretsForm(OnceForm):
    webhook_secrets = forms.CharField(
        label="Webhook signing secrets",
        required=False,
        max_length=2000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="One, or several separated by spaces.",
    )

    def clean_webhook_secrets(self) -> list[str]:
        return str(self.cleaned_data["webhook_secrets"]).split()


class EndpointForm(_WebhookSecretsForm):
    """One more endpoint of an account; the arguments of add_endpoint."""

    field_order = ("name", "webhook_secrets")

    name = forms.CharField(max_length=100, widget=UnfoldAdminTextInputWidget())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[
            "webhook_secrets"
        ].help_text += " Leave empty where the provider makes it, and rotate it in afterwards."


class EndpointSecretsForm(_WebhookSecretsForm):
    """New secrets for an endpoint; the arguments of rotate_endpoint_secrets."""

    overlap = _overlap_field(
        "Former secrets hold for",
        "The provider may sign with them for a while after it was given new ones.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["webhook_secrets"].required = True


class RetireEndpointForm(ReasonForm):
    """When an address closes; the arguments of retire_endpoint."""

    overlap = _overlap_field(
        "It takes news for another",
        "What the provider has sent off, or sends again, may still come in by it.",
    )
    field_order = ("overlap", "reason")


class ProviderAccountForm(ProviderKeyForm, _WebhookSecretsForm):
    """A new account at a provider; the arguments of create_provider_account."""

    field_order = ("provider", "name", "mode", "publishable_key", "secret_key")

    provider = forms.ChoiceField(widget=UnfoldAdminSelectWidget())
    name = forms.CharField(max_length=100, widget=UnfoldAdminTextInputWidget())
    mode = forms.ChoiceField(choices=MODES, widget=UnfoldAdminSelectWidget())
    publishable_key = forms.CharField(
        max_length=255, required=False, widget=UnfoldAdminTextInputWidget()
    )
    api_base = forms.URLField(
        label="Address of the provider's API",
        required=False,
        max_length=255,
        assume_scheme="https",
        widget=UnfoldAdminTextInputWidget(),
        help_text="Leave empty for the provider's own.",
    )
    is_default = forms.BooleanField(
        label="Payments that name no account go through this one",
        required=False,
        initial=True,
        widget=UnfoldBooleanWidget(),
        help_text="The first account of an owner and mode is the default in any case.",
    )
    owned_by_merchant = forms.BooleanField(
        label="The provider pays the merchant itself",
        required=False,
        widget=UnfoldBooleanWidget(),
        help_text="Else the platform is paid and owes it to the merchant. This never changes.",
    )

    def __init__(self, *args: Any, of_merchant: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not of_merchant:
            del self.fields["owned_by_merchant"]
        provider = self.fields["provider"]
        assert isinstance(provider, forms.ChoiceField)
        provider.choices = [(code, code.title()) for code in sorted(settings.FLORIN_PROVIDERS)]
