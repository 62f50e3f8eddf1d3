"""Two pages: "find anything", one box that takes any id, and the whole story of one payment.

Mental model: a search that finds one payment goes straight to its story; several are shown to
choose from; none says what was looked for. Opening a story is itself written to the audit trail,
before anything is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from unfold.admin import ModelAdmin

from audit import log
from payments.admin import search, story, waterfall, wording
from payments.admin.access import may, require, staff_actor
from payments.models import Merchant, Payment

ENTRIES_PER_PAGE = 100
_CHAPTER_TITLES = {
    "state": "Requests and states",
    "parts": "Refunds, disputes, cases",
    "provider": "Provider",
    "money": "Books",
    "merchant": "Told to the merchant",
    "staff": "Staff and notes",
}


@dataclass(frozen=True, kw_only=True)
class _Chapter:
    """One choice of the filter above a story."""

    title: str
    url: str
    count: int
    active: bool


def find_view(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """The search page; `q` is what a person holds."""
    require(request, "payments.view_payment")
    term = request.GET.get("q", "").strip()
    context: dict[str, Any] = {"term": term, "title": "Find anything"}
    if term:
        findings = search.find(term)
        if len(findings.payment_ids) == 1 and not findings.merchant_ids:
            story_url = reverse("admin:payments_payment_story", args=findings.payment_ids)
            return HttpResponseRedirect(f"{story_url}?{urlencode({'found': term})}")
        context |= {
            "findings": findings,
            "payments": _payments(findings.payment_ids),
            "merchants": _merchants(request, findings.merchant_ids),
            "other": _other_links(findings.other),
        }
    return _page(request, model_admin, "admin/florin/find.html", context)


def story_view(request: HttpRequest, model_admin: ModelAdmin, payment_id: str) -> HttpResponse:
    """The whole story of one payment. Raises Http404, PermissionDenied."""
    require(request, "payments.view_payment")
    payment = (
        Payment.objects.select_related("merchant", "provider_account").filter(pk=payment_id).first()
    )
    if payment is None:
        raise Http404(f"There is no payment {payment_id!r}.")
    log.viewed(
        stream_type="payment",
        stream_id=payment.pk,
        what="story",
        occurred_at=timezone.now(),
    )
    rights = story.Rights(
        ledger=may(request, "ledger.view_journalentry"),
        webhooks=may(request, "webhooks.view_domainevent"),
        audit=may(request, "audit.view_auditevent"),
    )
    told = story.tell(payment, rights=rights)
    chapter = request.GET.get("show", "")
    kinds = story.CHAPTERS.get(chapter, ())
    entries = [entry for entry in told.entries if not kinds or entry.kind in kinds]
    page = Paginator(entries, ENTRIES_PER_PAGE).get_page(request.GET.get("page"))
    books = [entry.books for entry in told.entries if entry.books is not None]
    context = {
        "title": payment.pk,
        "payment": payment,
        "opts": model_admin.model._meta,
        "original": payment,
        "attempts": list(payment.attempts.order_by("number")[:20]),
        "words": wording.state_words(payment.state),
        "waterfall": waterfall.of(payment),
        "story": told,
        "page": page,
        "chapters": _chapters(told, chapter),
        "show": chapter,
        "found": request.GET.get("found", ""),
        "books_balanced": bool(books) and all(each.balanced for each in books),
        "books_count": len(books),
        "may_see_merchant": may(request, "payments.view_merchant"),
        "net_minor": _net_minor(payment),
        "staff": staff_actor(request).display,
    }
    return _page(request, model_admin, "admin/florin/story.html", context)


def _net_minor(payment: Payment) -> int:
    """What the merchant has of it: taken, less what went out again and what it bears of fees."""
    gone = (
        payment.amount_refunded_minor
        + payment.amount_refund_pending_minor
        + payment.amount_disputed_minor
        + payment.amount_reversed_minor
        + payment.dispute_fee_minor
        + payment.platform_fee_minor
    )
    if payment.provider_account.owned_by_merchant:
        gone += payment.provider_fee_minor or 0
    return payment.amount_captured_minor - gone


def _chapters(told: story.Story, chosen: str) -> list[_Chapter]:
    counts = told.counts()
    whole = _Chapter(title="Everything", url="?", count=len(told.entries), active=not chosen)
    return [whole] + [
        _Chapter(title=title, url=f"?show={key}", count=counts[key], active=key == chosen)
        for key, title in _CHAPTER_TITLES.items()
        if counts[key]
    ]


def _payments(ids: list[str]) -> list[Payment]:
    rows = Payment.objects.select_related("merchant").filter(pk__in=ids).order_by("-pk")
    return list(rows)


def _merchants(request: HttpRequest, ids: list[str]) -> list[tuple[Merchant, list[Payment]]]:
    if not may(request, "payments.view_merchant"):
        return []
    merchants = Merchant.objects.filter(pk__in=ids).order_by("name")
    return [
        (merchant, _payments(search.latest_payments_of([merchant.pk], limit=10)))
        for merchant in merchants
    ]


def _other_links(found: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """(what it is, its id, address or "") of things that are neither payments nor merchants."""
    pages = {
        "provider_account": "admin:payments_provideraccount_change",
        "inbox_event": "admin:webhooks_inboxevent_change",
        "user": "admin:auth_user_change",
        "webhookendpoint": "admin:webhooks_webhookendpoint_change",
    }
    links = []
    for kind, value in found:
        address = reverse(pages[kind], args=[value]) if kind in pages else ""
        links.append((wording.readable(kind), value, address))
    return links


def _page(
    request: HttpRequest, model_admin: ModelAdmin, template: str, context: dict[str, Any]
) -> HttpResponse:
    request.current_app = model_admin.admin_site.name
    whole = {
        **model_admin.admin_site.each_context(request),
        **context,
    }
    return TemplateResponse(request, template, whole)
