"""Staff at work in a real Chromium: a refund, a dispute answered with a file, a case decided."""

from __future__ import annotations

from pathlib import Path

import pytest

from payments.models import Refund, ReviewCase
from tests.payments.admin.test_disputes_and_cases import PDF, disputed, held
from tests.payments.admin.test_in_a_browser import _LOW_CONTRAST, Visit, visit
from tests.payments.shop import Shop

__all__ = ["visit"]


def payment_path(payment_id: str, page: str = "change") -> str:
    return f"/admin/payments/payment/{payment_id}/{page}/"


def settled_down(visit: Visit) -> str:
    visit.page.wait_for_load_state("networkidle")
    return visit.text().replace("\u00a0", " ")


def test_a_payment_is_refunded_in_part(visit: Visit, shop: Shop) -> None:
    payment = shop.created()
    visit.go(payment_path(payment.pk))
    assert "Where the money went" in visit.text()
    visit.page.locator(f"a[href$='{payment.pk}/refund/']").first.click()
    text = settled_down(visit)
    assert "A refund cannot be called back" in text
    visit.picture("40-refund")
    visit.page.get_by_label("Amount, in EUR").fill("12,34")
    visit.page.get_by_label("Why").fill("One of two tickets was not used.")
    visit.page.get_by_role("button", name="Refund").click()
    assert "no commas" in settled_down(visit)
    visit.picture("41-refund-refused")
    assert visit.page.get_by_label("Why").input_value() == "One of two tickets was not used."
    visit.page.get_by_label("Amount, in EUR").fill("12.34")
    visit.page.get_by_role("button", name="Refund").dblclick()
    visit.page.wait_for_url(f"**{payment_path(payment.pk)}")
    text = settled_down(visit)
    assert "Refunded" in text
    assert [r.amount_minor for r in Refund.objects.filter(payment=payment)] == [1234]
    visit.picture("42-payment-refunded")
    visit.page.get_by_role("link", name="Refunds").last.click()
    visit.picture("43-payment-refunds")
    visit.go("/admin/payments/refund/")
    visit.picture("44-refunds", whole=False)
    visit.go(payment_path(payment.pk, "story"))
    assert "Staff asked us to give money back" in visit.text()
    visit.picture("45-story-of-a-refund")


def test_a_dispute_is_answered_with_a_file(visit: Visit, shop: Shop, tmp_path: Path) -> None:
    shop.settings(evidence_due_after_seconds=3 * 86_400 + 3600)
    dispute = disputed(shop)
    receipt = tmp_path / "receipt.pdf"
    receipt.write_bytes(PDF)
    visit.go("/admin/?mode=test")
    assert "due in 7 days" in visit.text()
    visit.picture("46-overview-with-work")
    visit.go("/admin/payments/dispute/")
    visit.picture("47-disputes", whole=False)
    visit.page.locator("a", has=visit.page.get_by_title(dispute.pk)).click()
    settled_down(visit)
    visit.picture("48-dispute")
    visit.page.get_by_role("link", name="Hand in evidence").first.click()
    settled_down(visit)
    visit.page.get_by_label("What was sold").fill("Two tickets for 4 July")
    visit.page.get_by_label("Receipt or invoice").set_input_files(receipt)
    visit.picture("49-evidence")
    visit.page.get_by_role("button", name="Only keep the files").click()
    assert "The files are kept" in settled_down(visit)
    visit.page.get_by_role("link", name="Hand in evidence").first.click()
    settled_down(visit)
    assert "Kept: receipt.pdf" in visit.text()
    visit.page.get_by_label("What was sold").fill("Two tickets for 4 July")
    visit.page.get_by_role("button", name="Hand everything in").click()
    assert "the payer's bank decides" in settled_down(visit)
    visit.picture("50-dispute-answered")
    dispute.refresh_from_db()
    assert dispute.state in ("submitted", "under_review")
    visit.go(payment_path(dispute.payment_id))
    visit.picture("51-payment-in-dispute")
    visit.go(payment_path(dispute.payment_id, "story") + "?show=parts")
    visit.picture("52-story-of-a-dispute")


def test_a_case_is_decided(visit: Visit, shop: Shop) -> None:
    case = held(shop)
    visit.go("/admin/payments/reviewcase/")
    visit.picture("53-cases", whole=False)
    visit.go(payment_path(case.payment_id))
    visit.picture("54-payment-in-review")
    visit.page.get_by_role("link", name="What to do").first.click()
    text = settled_down(visit)
    assert "Above the merchant's limit" in text
    visit.picture("55-case")
    visit.page.get_by_role("link", name="Release to the provider").first.click()
    settled_down(visit)
    visit.page.get_by_label("Why").fill("A customer of many years.")
    visit.picture("56-release")
    visit.page.get_by_role("button", name="Release").click()
    assert "The payment is now: Captured" in settled_down(visit)
    visit.picture("57-case-closed")
    assert ReviewCase.objects.get(pk=case.pk).resolved_at is not None


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_of_the_new_pages_stands_out(visit: Visit, shop: Shop, theme: str) -> None:
    dispute, case = disputed(shop), held(shop)
    visit.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    for path in (
        "/admin/?mode=test",
        payment_path(dispute.payment_id),
        payment_path(case.payment_id),
        f"/admin/payments/dispute/{dispute.pk}/change/",
        f"/admin/payments/dispute/{dispute.pk}/evidence/",
        f"/admin/payments/reviewcase/{case.pk}/change/",
        f"/admin/payments/reviewcase/{case.pk}/release/",
    ):
        visit.go(path)
        is_dark = "document.documentElement.classList.contains('dark')"
        assert visit.page.evaluate(is_dark) == (theme == "dark")
        assert visit.page.evaluate(_LOW_CONTRAST) == [], path
    visit.picture(f"58-release-{theme}", whole=False)


def test_the_evidence_form_fits_a_phone(visit: Visit, shop: Shop) -> None:
    dispute = disputed(shop)
    visit.page.set_viewport_size({"width": 390, "height": 1400})
    for page in (
        f"/admin/payments/dispute/{dispute.pk}/evidence/",
        payment_path(dispute.payment_id, "story"),
        "/admin/?mode=test",
    ):
        visit.go(page)
        overflow = visit.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, page
    visit.picture("59-overview-on-a-phone")
