"""Forms of the verbs that move money. Amounts are typed as people write them and kept exactly.

Mental model: a person reads and types "12.34 EUR"; the cleaned value is 1234 minor units, by the
currency's own number of decimals and without a float in between. What is typed with a comma, with
too many decimals or above what there is, is refused in words rather than guessed at.
"""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from ledger.money import InvalidMoney, Money
from payments.actions.answer_dispute import FILE_SIZE_MAX_BYTES, FILE_STARTS
from payments.admin import wording_parts
from payments.admin.forms import OnceForm, ReasonForm
from payments.admin.presentation import money_text
from payments.providers.objects import EVIDENCE_FILE_FIELDS, EVIDENCE_TEXT_FIELDS

_PLAIN_NUMBER = re.compile(r"[0-9]{1,18}(\.[0-9]{1,4})?")
_TEXT_LENGTH_MAX = 20_000
# What most disputes are answered with stands open; the rest is folded away.
_FIRST_TEXTS = (
    "product_description",
    "customer_name",
    "customer_email_address",
    "shipping_tracking_number",
    "shipping_date",
    "refund_refusal_explanation",
    "uncategorized_text",
)
_LONG_TEXTS = frozenset(
    {
        "product_description",
        "refund_policy_disclosure",
        "refund_refusal_explanation",
        "cancellation_policy_disclosure",
        "cancellation_rebuttal",
        "duplicate_charge_explanation",
        "access_activity_log",
        "uncategorized_text",
    }
)


class AmountField(forms.CharField):
    """An amount of one currency in major units; cleaned to minor units, 1 to `most_minor`."""

    def __init__(self, *, currency: str, most_minor: int, **kwargs: Any) -> None:
        self.currency, self.most_minor = currency, most_minor
        shown = money_text(most_minor, currency)
        kwargs.setdefault("label", f"Amount, in {currency}")
        kwargs.setdefault("initial", str(Money(most_minor, currency).major))
        kwargs.setdefault(
            "help_text",
            f"Up to {shown}, which is {most_minor} minor units. Decimals after a point: "
            f"{Money(most_minor, currency).major}.",
        )
        kwargs["widget"] = UnfoldAdminTextInputWidget(
            attrs={"inputmode": "decimal", "autocomplete": "off"}
        )
        super().__init__(**kwargs)

    def clean(self, value: Any) -> int:
        text = str(super().clean(value)).strip()
        if not _PLAIN_NUMBER.fullmatch(text):
            raise ValidationError(
                "Write digits, and decimals after a point, such as 12.34; no commas, no spaces."
            )
        try:
            amount_minor = Money.from_major(text, self.currency).amount_minor
        except InvalidMoney as error:
            raise ValidationError(str(error)) from error
        if not 0 < amount_minor <= self.most_minor:
            most = money_text(self.most_minor, self.currency)
            asked = money_text(amount_minor, self.currency)
            raise ValidationError(f"You wrote {asked}. It can be anything up to {most}.")
        return amount_minor


class RefundForm(ReasonForm):
    """Money back to the payer; the parameters of refunds.create."""

    refund_reason = forms.ChoiceField(
        label="Reason, as the provider and the payer's bank are told",
        choices=list(wording_parts.REFUND_REASONS.items()),
        widget=UnfoldAdminSelectWidget(),
    )
    refund_platform_fee = forms.BooleanField(
        label="Give our fee back too",
        required=False,
        widget=UnfoldBooleanWidget(),
        help_text="The merchant gets our fee back in proportion; otherwise we keep it.",
    )

    def __init__(self, *args: Any, currency: str, most_minor: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["amount"] = AmountField(currency=currency, most_minor=most_minor)
        self.order_fields(["ticket", "amount", "refund_reason", "refund_platform_fee", "reason"])


class CaptureForm(ReasonForm):
    """Held money is taken; the parameters of payments.capture."""

    final = forms.BooleanField(
        label="This is the last time: release what is left to the payer",
        required=False,
        initial=True,
        widget=UnfoldBooleanWidget(),
        help_text="Without the tick the rest stays held and can be taken later, where the "
        "provider can do that.",
    )

    def __init__(self, *args: Any, currency: str, most_minor: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["amount"] = AmountField(currency=currency, most_minor=most_minor)
        self.order_fields(["ticket", "amount", "final", "reason"])


class CancelForm(ReasonForm):
    """A payment is given up; the parameters of payments.cancel."""

    cancel_reason = forms.ChoiceField(
        label="Reason, as the provider is told",
        choices=list(wording_parts.CANCEL_REASONS.items()),
        widget=UnfoldAdminSelectWidget(),
    )
    field_order = ("ticket", "cancel_reason", "reason")


class AcceptDisputeForm(ReasonForm):
    """A dispute is given up, which nothing takes back."""

    sure = forms.BooleanField(
        label="I know that the payer keeps the money and that this cannot be taken back",
        widget=UnfoldBooleanWidget(),
    )
    field_order = ("ticket", "reason", "sure")


class EvidenceForm(OnceForm):
    """What a dispute is answered with; the parameters of disputes.add_file and .submit_evidence."""

    reason = forms.CharField(
        max_length=500,
        label="Note for our own records",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="These words stay in the audit trail; the bank does not see them.",
    )

    def __init__(self, *args: Any, kept_files: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept_files = kept_files
        for name in EVIDENCE_TEXT_FIELDS:
            self.fields[name] = _evidence_text(name)
        for kind in EVIDENCE_FILE_FIELDS:
            self.fields[f"file_{kind}"] = _EvidenceFileField(
                label=wording_parts.EVIDENCE_FILES[kind],
                help_text=f"Kept: {kept_files[kind]}. Another one takes its place."
                if kind in kept_files
                else "",
            )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        hand_in = "then" not in self.data
        if hand_in and not (self.texts() or self.uploads() or self.kept_files):
            raise ValidationError("Write something or choose a file: there is nothing to hand in.")
        if not hand_in and not self.uploads() and not self.errors:
            raise ValidationError("Choose at least one file to keep.")
        return cleaned

    @property
    def first_texts(self) -> list[forms.BoundField]:
        return [self[name] for name in _FIRST_TEXTS]

    @property
    def other_texts(self) -> list[forms.BoundField]:
        return [self[name] for name in EVIDENCE_TEXT_FIELDS if name not in _FIRST_TEXTS]

    @property
    def file_fields(self) -> list[forms.BoundField]:
        return [self[f"file_{kind}"] for kind in EVIDENCE_FILE_FIELDS]

    def texts(self) -> dict[str, str]:
        """Field -> words, without those left empty."""
        written = {name: self.cleaned_data.get(name, "") for name in EVIDENCE_TEXT_FIELDS}
        return {name: words.strip() for name, words in written.items() if words.strip()}

    def uploads(self) -> dict[str, Upload]:
        """Kind -> the file that was chosen."""
        chosen = {kind: self.cleaned_data.get(f"file_{kind}") for kind in EVIDENCE_FILE_FIELDS}
        return {kind: upload for kind, upload in chosen.items() if upload is not None}


class Upload:
    """A file that was looked into: its name, what it really is, its bytes."""

    def __init__(self, *, filename: str, content_type: str, content: bytes) -> None:
        self.filename, self.content_type, self.content = filename, content_type, content


class _EvidenceFileField(forms.FileField):
    """A PDF, PNG or JPEG, known by how it begins and not by its name; cleaned to an Upload."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminFileFieldWidget(attrs={"accept": ",".join(FILE_STARTS)})
        super().__init__(required=False, max_length=200, widget=widget, **kwargs)

    def clean(self, data: Any, initial: Any = None) -> Any:
        file: UploadedFile | None = super().clean(data, initial)
        if not file:
            return None
        if (file.size or 0) > FILE_SIZE_MAX_BYTES:
            raise ValidationError(
                f"{file.name} has {(file.size or 0) // 1000:,} KB; a file may have up to "
                f"{FILE_SIZE_MAX_BYTES // 1000} KB."
            )
        content = file.read()
        for content_type, starts in FILE_STARTS.items():
            if content.startswith(starts):
                return Upload(
                    filename=(file.name or "file")[:200], content_type=content_type, content=content
                )
        raise ValidationError(f"{file.name} is neither a PDF nor a PNG or JPEG picture.")


def _evidence_text(name: str) -> forms.CharField:
    rows = 3 if name in _LONG_TEXTS else 1
    widget: forms.Widget = (
        UnfoldAdminTextareaWidget(attrs={"rows": rows})
        if name in _LONG_TEXTS
        else UnfoldAdminTextInputWidget()
    )
    return forms.CharField(
        label=wording_parts.EVIDENCE_TEXTS[name],
        required=False,
        max_length=_TEXT_LENGTH_MAX,
        widget=widget,
    )
