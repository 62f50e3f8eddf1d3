"""Requests given up, in the back office: one list, one page, two ways out."""

from __future__ import annotations

import html
from collections.abc import Callable

import pytest
from django.urls import reverse

from payments.models import GivenUpRequest, IdempotencyKey
from tests.payments.admin.conftest import Staff
from tests.payments.admin.test_verbs import audited, send
from tests.payments.admin.visiting import Visit, picture
from tests.payments.shop import Shop
from tests.payments.test_given_up_requests import complete_in_vain, damaged

VERBS = ("try_again", "forget")


@pytest.fixture
def given_up(shop: Shop) -> GivenUpRequest:
    row = complete_in_vain(shop, damaged(shop))
    IdempotencyKey.objects.filter(pk=row.pk).update(locked_until=None)  # of a clock that was ahead
    return row


def address(row: GivenUpRequest, name: str) -> str:
    return reverse(f"admin:payments_givenuprequest_{name}", args=[row.pk])


def test_the_list_and_the_page_say_why(
    given_up: GivenUpRequest, shop: Shop, staff: Callable[[str], Staff]
) -> None:
    person = staff("Operations")
    for url in (reverse("admin:payments_givenuprequest_changelist"), address(given_up, "change")):
        page = html.unescape(person.client.get(url).content.decode())
        assert "payments.create" in page
        assert "KeyError" in page
        assert shop.merchant.name in page


def test_in_a_browser_it_is_found_read_and_forgotten(
    given_up: GivenUpRequest, visit: Visit
) -> None:
    visit.go(reverse("admin:payments_givenuprequest_changelist"))
    picture(visit.page, "given_up_requests")
    visit.go(address(given_up, "change"))
    picture(visit.page, "given_up_request")
    visit.go(address(given_up, "forget"))
    visit.assert_that_texts_stand_out()
    visit.page.get_by_label("Why").fill("the shop is closed")
    picture(visit.page, "given_up_request_forget")
    visit.press("Forget")
    assert not IdempotencyKey.objects.filter(pk=given_up.pk).exists()
    assert visit.complaints == []


def test_it_is_tried_again_under_the_name_of_the_person(
    given_up: GivenUpRequest, shop: Shop, staff: Callable[[str], Staff]
) -> None:
    person = staff("Operations")
    assert send(person, address(given_up, "try_again")).status_code == 302
    row = IdempotencyKey.objects.get(pk=given_up.pk)
    assert (row.completion_count, row.completion_due_at is not None) == (0, True)
    assert audited("merchant", shop.merchant.pk)["request.tried_again"] == str(person.user.pk)
    assert person.client.get(address(given_up, "try_again")).status_code == 404


def test_it_is_forgotten_with_words_only(
    given_up: GivenUpRequest, staff: Callable[[str], Staff]
) -> None:
    person = staff("Operations")
    assert send(person, address(given_up, "forget"), reason="").status_code == 200
    assert send(person, address(given_up, "forget"), reason="shop closed").status_code == 302
    assert not IdempotencyKey.objects.filter(pk=given_up.pk).exists()


@pytest.mark.parametrize("role", ["Compliance", "Finance"])
def test_who_may_look_may_not_mend(
    given_up: GivenUpRequest, staff: Callable[[str], Staff], role: str
) -> None:
    person = staff(role)
    page = person.client.get(address(given_up, "change"))
    assert page.status_code == 200
    for verb in VERBS:
        assert address(given_up, verb) not in page.content.decode()
        assert person.client.get(address(given_up, verb)).status_code == 403
        assert person.client.post(address(given_up, verb), {"ticket": "x"}).status_code == 403
