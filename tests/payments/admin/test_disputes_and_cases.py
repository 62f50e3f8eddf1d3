"""Disputes are answered with words and files, or accepted; cases are decided: by name, once."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from audit.log import Actor
from payments.actions.merchant_status import set_review_limit
from payments.models import Dispute, IdempotencyKey, Payment, ReviewCase
from tests.payments.admin.conftest import Staff
from tests.payments.admin.test_money_verbs import text_of, told
from tests.payments.admin.test_verbs import send, ticket_of
from tests.payments.shop import Shop

PDF = b"%PDF-1.4\nreceipt"


def disputed(shop: Shop, token: str = "tok_dispute") -> Dispute:
    """A payment that the payer contests at their bank."""
    payment = shop.created(payment_method=token)
    reference = shop.provider_reference(payment.pk)
    shop.deliver_events(payment=reference)
    shop.advance_sandbox(5)
    shop.deliver_events(payment=reference)
    return Dispute.objects.get(payment=payment)


def held(shop: Shop) -> ReviewCase:
    """A payment above its merchant's limit, which waits for a person."""
    shop.merchant = set_review_limit(
        merchant=shop.merchant,
        review_above_minor=1000,
        reason="a new merchant",
        actor=Actor(type="system", id="test"),
        now=shop.now(),
    )
    return ReviewCase.objects.get(payment=shop.created())


def dispute_url(dispute: Dispute, name: str) -> str:
    return reverse(f"admin:payments_dispute_{name}", args=[dispute.pk])


def case_url(case: ReviewCase, name: str) -> str:
    return reverse(f"admin:payments_reviewcase_{name}", args=[case.pk])


def pdf(content: bytes = PDF, name: str = "receipt.pdf") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, content_type="application/pdf")


def test_evidence_is_handed_in_with_words_and_a_file(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    dispute, person = disputed(shop), staff("Finance")
    answer = send(
        person,
        dispute_url(dispute, "hand_in"),
        product_description="Two tickets",
        file_receipt=pdf(),
        reason="The payer was there.",
    )
    assert answer.status_code == 302
    dispute.refresh_from_db()
    assert dispute.state in ("submitted", "under_review")
    assert dispute.evidence == {"product_description": "Two tickets"}
    assert [file.reveal_content() for file in dispute.files.all()] == [PDF]
    handed = next(r for r in told(dispute.payment) if r.event_type == "dispute.evidence_submitted")
    assert (handed.actor_id, handed.reason) == (str(person.user.pk), "The payer was there.")
    page = text_of(person.client.get(dispute_url(dispute, "change")))
    for words in ("Two tickets", "receipt.pdf", "What was sold", "Receipt or invoice"):
        assert words in page, words


def test_a_file_is_stored_nowhere_in_clear(shop: Shop, staff: Callable[[str], Staff]) -> None:
    dispute = disputed(shop)
    content = b"%PDF-" + secrets.token_hex(16).encode()
    send(staff("Finance"), dispute_url(dispute, "hand_in"), file_receipt=pdf(content), then="keep")
    row = IdempotencyKey.objects.get(merchant=shop.merchant, operation="disputes.add_file")
    assert base64.b64encode(content).decode() not in str(row.parameters)
    dispute.refresh_from_db()
    assert (dispute.state, dispute.files.count()) == ("needs_response", 1)


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"MZ this is a program", "receipt.pdf", "neither a PDF nor a PNG or JPEG"),
        (b"%PDF-" + b"x" * 700_000, "big.pdf", "a file may have up to 700 KB"),
    ],
)
def test_a_file_that_cannot_be_is_refused_and_the_words_stay(
    shop: Shop, staff: Callable[[str], Staff], content: bytes, name: str, words: str
) -> None:
    dispute = disputed(shop)
    answer = send(
        staff("Finance"),
        dispute_url(dispute, "hand_in"),
        product_description="Two tickets",
        file_receipt=pdf(content, name),
    )
    assert answer.status_code == 200
    assert words in text_of(answer)
    assert "Two tickets" in answer.content.decode()
    dispute.refresh_from_db()
    assert (dispute.state, dispute.files.count()) == ("needs_response", 0)


def test_nothing_is_handed_in_without_anything(shop: Shop, staff: Callable[[str], Staff]) -> None:
    dispute = disputed(shop)
    answer = send(staff("Finance"), dispute_url(dispute, "hand_in"))
    assert "there is nothing to hand in" in text_of(answer)
    answer = send(staff("Finance"), dispute_url(dispute, "hand_in"), then="keep")
    assert "Choose at least one file" in text_of(answer)


def test_evidence_that_is_sent_twice_is_handed_in_once(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    dispute, person = disputed(shop), staff("Operations")
    url = dispute_url(dispute, "hand_in")
    ticket = ticket_of(person.client.get(url))
    for _ in range(2):
        fields = {"ticket": ticket, "customer_name": "Bob", "file_receipt": pdf()}
        assert person.client.post(url, fields).status_code == 302
    calls = dispute.payment.operations.filter(kind="submit_evidence")
    assert calls.count() == 1
    assert dispute.files.count() == 1


def test_a_dispute_is_accepted_only_with_the_tick(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    dispute, person = disputed(shop), staff("Finance")
    url = dispute_url(dispute, "accept")
    assert send(person, url, reason="They are right.").status_code == 200
    assert send(person, url, reason="They are right.", sure="on").status_code == 302
    dispute.refresh_from_db()
    assert dispute.state in ("accepted", "lost")
    assert person.client.post(url, {"ticket": secrets.token_urlsafe(12)}).status_code == 200


def test_what_is_due_soonest_stands_first(shop: Shop, staff: Callable[[str], Staff]) -> None:
    later, sooner = disputed(shop), disputed(shop)
    now = timezone.now()
    Dispute.objects.filter(pk=sooner.pk).update(evidence_due_at=now + timedelta(hours=30))
    over = disputed(shop)
    Dispute.objects.filter(pk=over.pk).update(evidence_due_at=now - timedelta(hours=3))
    url = reverse("admin:payments_dispute_changelist")
    page = staff("Finance").client.get(f"{url}?merchant={shop.merchant.pk}").content.decode()
    places = [page.index(dispute.pk) for dispute in (over, sooner, later)]
    assert places == sorted(places)
    assert "Overdue since 3" in page
    assert "30\u00a0h left" in page or "29\u00a0h left" in page


def test_a_held_payment_is_released_and_paid(shop: Shop, staff: Callable[[str], Staff]) -> None:
    case, person = held(shop), staff("Operations")
    page = text_of(person.client.get(case_url(case, "change")))
    for words in ("Above the merchant's limit", "Release it to have the provider asked"):
        assert words in page, words
    url = case_url(case, "release")
    ticket = ticket_of(person.client.get(url))
    for _ in range(2):
        person.client.post(url, {"ticket": ticket, "reason": "A known customer."})
    payment = shop.payment(case.payment_id)
    assert payment.state == "captured"
    assert len([m for m in shop.movements(payment.pk) if m["kind"] == "capture"]) == 1
    decided = next(r for r in told(payment) if r.event_type == "review.decided")
    assert (decided.actor_id, decided.reason) == (str(person.user.pk), "A known customer.")
    case.refresh_from_db()
    assert case.resolved_by == str(person.user.pk)
    page = text_of(person.client.get(case_url(case, "change")))
    assert person.user.username in page
    assert "A person released the payment" in page


def test_a_held_payment_is_canceled(shop: Shop, staff: Callable[[str], Staff]) -> None:
    case = held(shop)
    send(staff("Finance"), case_url(case, "cancel_payment"), reason="Not plausible.")
    assert shop.payment(case.payment_id).state == "canceled"


def test_what_the_provider_says_is_taken_over(shop: Shop, staff: Callable[[str], Staff]) -> None:
    payment = shop.created(payment_method="tok_review")
    shop.deliver_events(payment=shop.provider_reference(payment.pk))
    case, person = ReviewCase.objects.get(payment=payment), staff("Finance")
    answer = send(person, case_url(case, "take_over"), reason="Checked with them.")
    assert "nothing can be decided yet" in text_of(answer)
    assert shop.payment(payment.pk).state == "in_review"


def test_a_case_that_changes_nothing_is_closed_with_words(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    payment, person = shop.created(), staff("Operations")
    case = ReviewCase.objects.create(
        payment=payment, kind="contradiction", words="It differs.", opened_at=timezone.now()
    )
    assert send(person, case_url(case, "close"), reason="").status_code == 200
    assert send(person, case_url(case, "close"), reason="Cleared: a_typo.").status_code == 302
    case.refresh_from_db()
    assert (case.resolution, case.resolved_by) == ("Cleared: a_typo.", str(person.user.pk))
    again = send(person, case_url(case, "close"), reason="Once more.")
    assert "This case is closed" in text_of(again)
    assert "Cleared: a_typo." in text_of(person.client.get(case_url(case, "change")))


def test_open_cases_stand_first_the_oldest_on_top(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    now = timezone.now()
    cases = [
        ReviewCase.objects.create(
            payment=shop.created(),
            kind="contradiction",
            words="It differs.",
            opened_at=now - timedelta(days=days),
        )
        for days in (1, 5, 9)
    ]
    send(staff("Finance"), case_url(cases[2], "close"), reason="Done.")
    url = reverse("admin:payments_reviewcase_changelist")
    page = staff("Finance").client.get(f"{url}?merchant={shop.merchant.pk}").content.decode()
    places = [page.index(case.pk) for case in (cases[1], cases[0], cases[2])]
    assert places == sorted(places)
    assert "5\u00a0days" in page


@pytest.mark.parametrize("role", ["", "Compliance", "Live keys"])
def test_who_may_not_is_refused_on_the_address_itself(
    shop: Shop, staff: Callable[[str], Staff], role: str
) -> None:
    dispute, case = disputed(shop), held(shop)
    fields = {
        "ticket": secrets.token_urlsafe(12),
        "reason": "Because.",
        "sure": "on",
        "customer_name": "Bob",
    }
    urls = [dispute_url(dispute, name) for name in ("hand_in", "accept")]
    urls += [case_url(case, n) for n in ("take_over", "cancel_payment", "release", "close")]
    client = staff(role).client
    for url in urls:
        assert client.get(url).status_code == 403, url
        assert client.post(url, fields).status_code == 403, url
    dispute.refresh_from_db()
    assert dispute.state == "needs_response"
    assert Payment.objects.get(pk=case.payment_id).state == "in_review"


def test_compliance_reads_disputes_and_cases_and_its_look_is_audited(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    dispute, person = disputed(shop), staff("Compliance")
    page = person.client.get(dispute_url(dispute, "change")).content.decode()
    assert dispute_url(dispute, "hand_in") not in page
    looked = [r for r in told(dispute.payment) if r.event_type == "record.viewed"]
    assert {r.actor_id for r in looked} == {str(person.user.pk)}


def test_any_id_of_a_part_leads_to_its_payment_and_its_row(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    from payments.admin import search

    dispute = disputed(shop)
    shop.ask(
        "disputes.submit_evidence", {"dispute": dispute.pk, "evidence": {"customer_name": "B"}}
    )
    payment = shop.created()
    refunded: dict[str, Any] = shop.ask(
        "refunds.create",
        {
            "payment": payment.pk,
            "amount_minor": 100,
            "reason": "",
            "metadata": {},
            "refund_platform_fee": False,
        },
    ).body
    case = held(shop)
    for term, wanted in (
        (dispute.pk, dispute.payment_id),
        (dispute.provider_reference, dispute.payment_id),
        (refunded["id"], payment.pk),
        (refunded["provider_reference"], payment.pk),
        (payment.captures.get().pk, payment.pk),
        (case.pk, case.payment_id),
    ):
        assert search.find(term).payment_ids == [wanted], term
    client = staff("Finance").client
    for page, term, shown in (
        ("refund", refunded["provider_reference"], refunded["id"]),
        ("refund", payment.pk, refunded["id"]),
        ("dispute", shop.provider_reference(dispute.payment_id), dispute.pk),
        ("reviewcase", case.payment_id, case.pk),
    ):
        url = reverse(f"admin:payments_{page}_changelist")
        assert shown in client.get(url, {"q": term}).content.decode(), (page, term)
        assert client.get(url, {"q": "nothing-like-it"}).status_code == 200


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("refund", "state=open&mode=test&source=api&since=7"),
        ("refund", "state=gone_wrong"),
        ("dispute", "state=due&stage=chargeback"),
        ("dispute", "state=open&since=30"),
        ("reviewcase", "state=open&kind=screening&since=7&mode=live"),
        ("reviewcase", "state=closed"),
    ],
)
def test_the_filters_filter(staff: Callable[[str], Staff], page: str, query: str) -> None:
    url = reverse(f"admin:payments_{page}_changelist")
    answer = staff("Finance").client.get(f"{url}?{query}")
    assert answer.status_code == 200


def test_the_buttons_of_a_page_that_was_opened_from_its_list_lead_somewhere(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    dispute, person = disputed(shop), staff("Operations")
    case = held(shop)
    for page, row in (
        ("dispute", dispute.pk),
        ("reviewcase", case.pk),
        ("payment", dispute.payment_id),
        ("merchant", shop.merchant.pk),
        ("provideraccount", shop.account.pk),
    ):
        listed = person.client.get(reverse(f"admin:payments_{page}_changelist"), {"q": row})
        links = re.findall(
            rf'href="(/admin/payments/{page}/\w+/change/[^"]*)"', listed.content.decode()
        )
        assert links, page
        opened = person.client.get(links[0].replace("&amp;", "&")).content.decode()
        buttons = re.findall(rf'href="(/admin/payments/{page}/{row}/[a-z-]+/)"', opened)
        assert buttons, page
        for button in buttons:
            assert person.client.get(button).status_code in (200, 302), button
