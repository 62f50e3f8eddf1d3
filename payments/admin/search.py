"""Find a payment from whatever a person holds: one box, any id.

Mental model: what was typed is tried as each kind of thing it could be, and each try is one read
along an index with a limit, so a search costs the same with ten million payments. Prefixes of our
own ids (pay_, att_, evt_, ...) decide what to try; anything else is tried as a provider's id, a
merchant's reference, a merchant's or a customer's e-mail, and last as any id the audit trail ever
mentioned. Nothing is searched by parts in the middle: that would read whole tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from django.db.models.functions import Lower

from audit import encryption
from audit import timeline as audit_timeline
from payments.models import (
    ApiKey,
    Attempt,
    Capture,
    Customer,
    Dispute,
    EvidenceFile,
    Merchant,
    Payment,
    PaymentMethod,
    ProviderAccount,
    ProviderOperation,
    Refund,
    ReviewCase,
)
from webhooks import story as webhook_story

LIMIT = 50
LONGEST_TERM = 200
# Four characters after "pay_" are the slowly moving part of the time: too few to narrow anything.
SHORTEST_PAYMENT_PREFIX = 12


@dataclass
class Findings:
    """What a search found, and the kinds of things that were looked for, in words."""

    term: str
    payment_ids: list[str] = field(default_factory=list)
    merchant_ids: list[str] = field(default_factory=list)
    other: list[tuple[str, str]] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.payment_ids or self.merchant_ids or self.other)

    def add_payments(self, ids: list[str]) -> None:
        self.payment_ids = list(dict.fromkeys([*self.payment_ids, *ids]))[:LIMIT]

    def add_merchants(self, ids: list[str]) -> None:
        self.merchant_ids = list(dict.fromkeys([*self.merchant_ids, *ids]))[:LIMIT]

    def add_stream(self, kind: str, value: str) -> None:
        """Take in something that another id leads to."""
        if kind == "payment":
            self.add_payments([value])
        elif kind == "merchant":
            self.add_merchants([value])
        elif (kind, value) not in self.other and len(self.other) < LIMIT:
            self.other.append((kind, value))


def find(term: str) -> Findings:
    """Everything the term leads to."""
    term = term.strip()[:LONGEST_TERM].replace("\x00", "")
    findings = Findings(term=term)
    if not term:
        return findings
    prefix = term.partition("_")[0] if "_" in term else ""
    own = _OWN_IDS.get(prefix)
    if own is not None:
        own(term, findings)
    if findings.is_empty:  # others begin their ids and references as they like, with ours too
        _provider_references(term, findings)
        _merchant_reference(term, findings)
        _merchant_email(term, findings)
        _customer_email(term, findings)
        if own is not _webhook_ids:
            _webhook_ids(term, findings)
    if findings.is_empty and own is not _request:
        _audit_trail(term, findings)
    return findings


def payment_ids(term: str) -> list[str]:
    """The payments a term leads to, for the list's search box: its merchants' latest included."""
    findings = find(term)
    return [*findings.payment_ids, *latest_payments_of(findings.merchant_ids)][:LIMIT]


def latest_payments_of(merchant_ids: list[str], *, limit: int = LIMIT) -> list[str]:
    """The newest payments of these merchants, both modes, along the index of each."""
    ids: list[str] = []
    for merchant_id in merchant_ids:
        for livemode in (True, False):
            rows = Payment.objects.filter(merchant_id=merchant_id, livemode=livemode)
            ids.extend(rows.order_by("-pk").values_list("pk", flat=True)[:limit])
    return sorted(ids, reverse=True)[:limit]


def _payment(term: str, findings: Findings) -> None:
    findings.tried.append("a payment's id, or its beginning")
    exact = Payment.objects.filter(pk=term).values_list("pk", flat=True)
    findings.add_payments(list(exact))
    if not findings.payment_ids and len(term) >= SHORTEST_PAYMENT_PREFIX:
        begun = Payment.objects.filter(pk__startswith=term).order_by("pk")
        findings.add_payments(list(begun.values_list("pk", flat=True)[:LIMIT]))


def _attempt(term: str, findings: Findings) -> None:
    findings.tried.append("an attempt's id")
    rows = Attempt.objects.filter(pk=term).values_list("payment_id", flat=True)
    findings.add_payments(list(rows))


def _operation(term: str, findings: Findings) -> None:
    findings.tried.append("a provider call's id")
    rows = ProviderOperation.objects.filter(pk=term).values_list("payment_id", flat=True)
    findings.add_payments(list(rows))


def _refund(term: str, findings: Findings) -> None:
    findings.tried.append("a refund's id")
    rows = Refund.objects.filter(pk=term).values_list("payment_id", flat=True)
    findings.add_payments(list(rows))


def _dispute(term: str, findings: Findings) -> None:
    findings.tried.append("a dispute's id")
    rows = Dispute.objects.filter(pk=term).values_list("payment_id", flat=True)
    findings.add_payments(list(rows))


def _capture(term: str, findings: Findings) -> None:
    findings.tried.append("a capture's id")
    rows = Capture.objects.filter(pk=term).values_list("payment_id", flat=True)
    findings.add_payments(list(rows))


def _case(term: str, findings: Findings) -> None:
    findings.tried.append("a review case's id")
    rows = ReviewCase.objects.filter(pk=term).values_list("payment_id", flat=True)
    findings.add_payments(list(rows))


def _evidence_file(term: str, findings: Findings) -> None:
    findings.tried.append("an evidence file's id")
    rows = EvidenceFile.objects.filter(pk=term).values_list("dispute__payment_id", flat=True)
    findings.add_payments(list(rows))


def _customer(term: str, findings: Findings) -> None:
    findings.tried.append("a customer's id")
    _add_customers(list(Customer.objects.filter(pk=term).values_list("pk", flat=True)), findings)


def _saved_method(term: str, findings: Findings) -> None:
    findings.tried.append("a saved payment method's id")
    rows = PaymentMethod.objects.filter(pk=term).values_list("customer_id", flat=True)
    _add_customers(list(rows), findings)


def _customer_email(term: str, findings: Findings) -> None:
    if "@" not in term:
        return
    findings.tried.append("a customer's e-mail address")
    fingerprints = encryption.blind_index_candidates(
        Customer.email_form(term), purpose=Customer.EMAIL_PURPOSE
    )
    rows = Customer.objects.filter(email_index__in=fingerprints).order_by()
    _add_customers(sorted(rows.values_list("pk", flat=True)[:LIMIT], reverse=True), findings)


def _add_customers(ids: list[str], findings: Findings) -> None:
    """Customers and their latest payments, along the index of each customer."""
    for customer_id in ids:
        findings.add_stream("customer", customer_id)
        rows = Payment.objects.filter(customer_id=customer_id).order_by("-pk")
        findings.add_payments(list(rows.values_list("pk", flat=True)[:LIMIT]))


def _merchant(term: str, findings: Findings) -> None:
    findings.tried.append("a merchant's id")
    findings.add_merchants(list(Merchant.objects.filter(pk=term).values_list("pk", flat=True)))


def _api_key(term: str, findings: Findings) -> None:
    findings.tried.append("an API key's id")
    rows = ApiKey.objects.filter(pk=term).values_list("merchant_id", flat=True)
    findings.add_merchants(list(rows))


def _provider_account(term: str, findings: Findings) -> None:
    findings.tried.append("a provider account's id")
    rows = ProviderAccount.objects.filter(pk=term).values_list("pk", flat=True)
    for pk in rows:
        findings.add_stream("provider_account", pk)


def _webhook_ids(term: str, findings: Findings) -> None:
    findings.tried.append("the id of an event or a webhook, ours or the provider's")
    for kind, value in webhook_story.aggregates_of(term, limit=LIMIT):
        findings.add_stream(kind, value)


def _request(term: str, findings: Findings) -> None:
    findings.tried.append("the id of a request to our API")
    _audit_trail(term, findings)


def _provider_references(term: str, findings: Findings) -> None:
    findings.tried.append("the provider's id of a payment, a charge, a refund or a dispute")
    for column in ("provider_reference", "charge_reference"):
        rows = Attempt.objects.filter(**{column: term}).order_by()
        findings.add_payments(list(rows.values_list("payment_id", flat=True)[:LIMIT]))
    refunds = Refund.objects.filter(provider_reference=term).exclude(provider_reference="")
    findings.add_payments(list(refunds.values_list("payment_id", flat=True)[:LIMIT]))
    disputes = Dispute.objects.filter(provider_reference=term)
    findings.add_payments(list(disputes.values_list("payment_id", flat=True)[:LIMIT]))


def _merchant_reference(term: str, findings: Findings) -> None:
    findings.tried.append("a merchant's own reference")
    rows = Payment.objects.filter(merchant_reference=term).order_by()
    findings.add_payments(sorted(rows.values_list("pk", flat=True)[:LIMIT], reverse=True))


def _merchant_email(term: str, findings: Findings) -> None:
    if "@" not in term:
        return
    findings.tried.append("a merchant's e-mail address")
    rows = Merchant.objects.annotate(folded=Lower("email")).filter(folded=term.lower())
    findings.add_merchants(list(rows.order_by().values_list("pk", flat=True)[:LIMIT]))


def _audit_trail(term: str, findings: Findings) -> None:
    findings.tried.append("any id the audit trail mentions")
    for found in audit_timeline.find(term, limit=LIMIT):
        findings.add_stream(found.stream_type, found.stream_id)


_OWN_IDS: dict[str, Callable[[str, Findings], None]] = {
    "pay": _payment,
    "att": _attempt,
    "op": _operation,
    "re": _refund,
    "dp": _dispute,
    "cap": _capture,
    "case": _case,
    "file": _evidence_file,
    "cus": _customer,
    "pm": _saved_method,
    "mer": _merchant,
    "key": _api_key,
    "pacc": _provider_account,
    "evt": _webhook_ids,
    "inb": _webhook_ids,
    "whd": _webhook_ids,
    "req": _request,
}
