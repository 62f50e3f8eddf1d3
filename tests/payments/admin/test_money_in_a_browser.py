"""Staff at work in a real Chromium: a refund, a dispute answered with a file, a case decided."""

from __future__ import annotations

from pathlib import Path

from payments.models import Refund, ReviewCase
from tests.payments.admin.test_disputes_and_cases import PDF, disputed, held
from tests.payments.admin.visiting import Visit
from tests.payments.shop import Shop


def payment_path(payment_id: str, page: str = "change") -> str:
    return f"/admin/payments/payment/{payment_id}/{page}/"


def words_of(visit: Visit) -> str:
    return visit.text().replace("\u00a0", " ")


def test_a_payment_is_refunded_in_part(visit: Visit, shop: Shop) -> None:
    payment = shop.created()
    visit.go(payment_path(payment.pk))
    assert "Where the money went" in visit.text()
    visit.follow(visit.page.locator(f"a[href$='{payment.pk}/refund/']").first)
    assert "A refund cannot be called back" in words_of(visit)
    visit.picture("40-refund")
    visit.page.get_by_label("Amount, in EUR").fill("12,34")
    visit.page.get_by_label("Why").fill("One of two tickets was not used.")
    visit.press("Refund")
    assert "no commas" in words_of(visit)
    visit.picture("41-refund-refused")
    assert visit.page.get_by_label("Why").input_value() == "One of two tickets was not used."
    visit.page.get_by_label("Amount, in EUR").fill("12.34")
    visit.page.get_by_role("button", name="Refund").dblclick()
    visit.page.wait_for_url(f"**{payment_path(payment.pk)}")
    assert "Refunded" in words_of(visit)
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
    visit.assert_that_texts_stand_out()
    visit.picture("46-overview-with-work")
    visit.go("/admin/payments/dispute/")
    visit.picture("47-disputes", whole=False)
    visit.follow(visit.page.locator("a", has=visit.page.get_by_title(dispute.pk)))
    visit.assert_that_texts_stand_out()
    visit.picture("48-dispute")
    visit.follow(visit.page.get_by_role("link", name="Hand in evidence").first)
    visit.assert_that_texts_stand_out()
    visit.page.get_by_label("What was sold").fill("Two tickets for 4 July")
    visit.page.get_by_label("Receipt or invoice").set_input_files(receipt)
    visit.picture("49-evidence")
    visit.press("Only keep the files")
    assert "The files are kept" in words_of(visit)
    visit.follow(visit.page.get_by_role("link", name="Hand in evidence").first)
    assert "Kept: receipt.pdf" in visit.text()
    visit.page.get_by_label("What was sold").fill("Two tickets for 4 July")
    visit.press("Hand everything in")
    assert "the payer's bank decides" in words_of(visit)
    visit.picture("50-dispute-answered")
    dispute.refresh_from_db()
    assert dispute.state in ("submitted", "under_review")
    visit.go(payment_path(dispute.payment_id))
    visit.assert_that_texts_stand_out()
    visit.picture("51-payment-in-dispute")
    visit.go(payment_path(dispute.payment_id, "story") + "?show=parts")
    visit.picture("52-story-of-a-dispute")


def test_a_case_is_decided(visit: Visit, shop: Shop) -> None:
    case = held(shop)
    visit.go("/admin/?mode=test")
    visit.assert_that_texts_stand_out()
    visit.go("/admin/payments/reviewcase/")
    visit.picture("53-cases", whole=False)
    visit.go(payment_path(case.payment_id))
    visit.assert_that_texts_stand_out()
    visit.picture("54-payment-in-review")
    visit.follow(visit.page.get_by_role("link", name="What to do").first)
    assert "Above the merchant's limit" in words_of(visit)
    visit.assert_that_texts_stand_out()
    visit.picture("55-case")
    visit.follow(visit.page.get_by_role("link", name="Release to the provider").first)
    visit.assert_that_texts_stand_out()
    visit.page.get_by_label("Why").fill("A customer of many years.")
    visit.picture("56-release")
    visit.press("Release")
    assert "The payment is now: Captured" in words_of(visit)
    visit.picture("57-case-closed")
    assert ReviewCase.objects.get(pk=case.pk).resolved_at is not None


def test_the_evidence_form_fits_a_phone(visit: Visit, shop: Shop) -> None:
    dispute = disputed(shop)
    visit.page.set_viewport_size({"width": 390, "height": 1400})
    for page in (
        f"/admin/payments/dispute/{dispute.pk}/evidence/",
        payment_path(dispute.payment_id, "story"),
        "/admin/?mode=test",
    ):
        visit.go(page)
        assert visit.overflow() <= 0, page
    visit.picture("59-overview-on-a-phone")
