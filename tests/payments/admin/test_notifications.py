"""Notifications in the back office: rules by form, a test, what was told, two ways out."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from audit.log import Actor
from payments.models import Notification, NotificationRule
from payments.notifications import kinds, rules, writing
from payments.notifications.kinds import KINDS
from payments.notifications.message import message_of
from tests.payments.admin.conftest import Staff
from tests.payments.admin.test_verbs import audited, send
from tests.payments.admin.visiting import Visit, picture

if TYPE_CHECKING:
    from playwright.sync_api import Page

ACTOR = Actor(type="user", id="7", display="dora")
ADD = "admin:payments_notificationrule_add"


@pytest.fixture(autouse=True)
def _rules_end_with_the_test() -> Iterator[None]:
    yield
    for rule in NotificationRule.objects.filter(active=True):
        rules.set_rule_active(rule=rule, active=False, actor=ACTOR, now=datetime.now(UTC))


def add_rule(person: Staff, **changes: Any) -> Any:
    fields = {
        "name": f"On call {secrets.token_hex(4)}",
        "channel": "email",
        "addresses": "ada@shop.example\nbob@shop.example",
        "webhook_url": "",
        "mode": "both",
        "kinds": list(KINDS),
    }
    return send(person, reverse(ADD), **(fields | changes))


def the_rule() -> NotificationRule:
    return NotificationRule.objects.filter(active=True).order_by("-pk")[0]


def dead_row(rule: NotificationRule, **changes: Any) -> Notification:
    """A notification that gave up, of twenty years from now, where no sender of a test looks."""
    later = datetime.now(UTC) + timedelta(days=7300)
    notice = kinds.notice(
        KINDS["dead_letter"],
        subject=f"handler:{secrets.token_hex(4)}",
        mode="live",
        happened="A handler of our own could not take an event: payment.settled to ledger_poster.",
        since=later,
        path="/admin/webhooks/deadletter/",
        **changes,
    )
    with transaction.atomic():
        writing.write(notice, now=later)
    rows = Notification.objects.filter(rule=rule, subject=notice.subject)
    rows.update(
        status="dead",
        due_at=None,
        finished_at=later,
        attempts=1,
        error="the mail server refused it: 550 no such mailbox",
    )
    return rows[0]


def test_operations_makes_changes_and_switches_off_a_rule(staff: Callable[[str], Staff]) -> None:
    person = staff("Operations")
    assert add_rule(person).status_code == 302
    rule = the_rule()
    assert (rule.addresses, len(rule.kinds)) == (["ada@shop.example", "bob@shop.example"], 13)
    page = reverse("admin:payments_notificationrule_change", args=[rule.pk])
    changed = send(
        person,
        page.replace("change/", "change-rule/"),
        name="Nights",
        addresses="eve@shop.example",
        mode="live",
        kinds=["dead_letter"],
    )
    assert changed.status_code == 302
    rule.refresh_from_db()
    assert (rule.name, rule.addresses, rule.mode) == ("Nights", ["eve@shop.example"], "live")
    send(person, page.replace("change/", "switch/"))
    rule.refresh_from_db()
    assert not rule.active
    assert audited("notification_rule", rule.pk) == {
        "notification_rule.created": str(person.user.pk),
        "notification_rule.changed": str(person.user.pk),
        "notification_rule.deactivated": str(person.user.pk),
    }


def test_a_slack_address_that_may_not_be_asked_is_refused_in_its_field_and_not_shown_again(
    staff: Callable[[str], Staff],
) -> None:
    url = "https://10.0.0.1/services/T000/B000/verysecret"
    answer = add_rule(staff("Operations"), channel="slack", webhook_url=url)
    assert answer.status_code == 200
    assert "not on the public internet" in answer.content.decode()
    assert "verysecret" not in answer.content.decode()


@pytest.mark.parametrize(("group", "may_look"), [("Compliance", True), ("Finance", False)])
def test_others_may_change_nothing(
    staff: Callable[[str], Staff], group: str, may_look: bool
) -> None:
    add_rule(staff("Operations"))
    rule, person = the_rule(), staff(group)
    row = dead_row(rule)
    page = reverse("admin:payments_notificationrule_change", args=[rule.pk])
    of_row = reverse("admin:payments_notification_change", args=[row.pk])
    for address in (page, of_row):
        assert person.client.get(address).status_code == (200 if may_look else 403)
    for verb in ("change-rule", "switch", "send-test"):
        assert person.client.get(page.replace("change/", f"{verb}/")).status_code == 403
    for verb in ("send-again", "give-up"):
        assert person.client.get(of_row.replace("change/", f"{verb}/")).status_code == 403
    assert person.client.get(reverse(ADD)).status_code == 403


def test_a_test_is_written_to_everybody_the_rule_reaches(staff: Callable[[str], Staff]) -> None:
    person = staff("Operations")
    add_rule(person)
    rule = the_rule()
    page = reverse("admin:payments_notificationrule_change", args=[rule.pk])
    send(person, page.replace("change/", "send-test/"))
    rows = Notification.objects.filter(rule=rule, kind="test")
    assert sorted(row.recipient for row in rows) == rule.addresses
    rows.exclude(status="sent").update(
        status="discarded",
        reason="of a test",
        due_at=None,
        lease_until=None,
        finished_at=datetime.now(UTC),
    )


def test_a_dead_one_is_sent_again_or_given_up_with_words(staff: Callable[[str], Staff]) -> None:
    person = staff("Operations")
    add_rule(person, addresses="ada@shop.example")
    again, over = dead_row(the_rule()), dead_row(the_rule())
    page = reverse("admin:payments_notification_change", args=[over.pk])
    assert send(person, page.replace("change/", "give-up/"), reason=" ").status_code == 200
    send(person, page.replace("change/", "give-up/"), reason="Ada left")
    over.refresh_from_db()
    assert (over.status, over.reason) == ("discarded", "Ada left")
    assert person.client.get(page.replace("change/", "give-up/")).status_code == 404
    page = reverse("admin:payments_notification_change", args=[again.pk])
    send(person, page.replace("change/", "send-again/"))
    again.refresh_from_db()
    assert again.status in ("pending", "retrying")
    assert audited("notification", again.pk) == {"notification.retried": str(person.user.pk)}
    Notification.objects.filter(pk=again.pk).update(
        status="discarded",
        reason="of a test",
        due_at=None,
        lease_until=None,
        finished_at=datetime.now(UTC),
    )


def test_the_metrics_tell_what_waits_and_what_is_dead(staff: Callable[[str], Staff]) -> None:
    add_rule(staff("Operations"), addresses="ada@shop.example")
    row = dead_row(the_rule())
    text = Client(REMOTE_ADDR="127.0.0.1").get("/metrics").content.decode()
    (dead,) = re.findall(r"^florin_notifications_dead (\d+)", text, re.MULTILINE)
    assert int(dead) >= 1
    Notification.objects.filter(pk=row.pk).update(status="discarded", reason="of a test")


def test_the_overview_says_so_while_nobody_is_told(
    staff: Callable[[str], Staff], settings: Settings
) -> None:
    person = staff("Operations")
    assert "Nobody is told when something goes wrong" in overview(person)
    add_rule(person)
    assert "EMAIL_URL is not set" in overview(person)
    settings.EMAIL_HOST = "mail.example"
    assert "EMAIL_URL is not set" not in overview(person)
    assert "Nobody is told" not in overview(person)
    assert "Nobody is told" not in overview(staff("Finance"))


def overview(person: Staff) -> str:
    return person.client.get(reverse("admin:index")).content.decode()


def test_a_rule_is_made_and_a_dead_message_read_in_a_browser(visit: Visit) -> None:
    visit.go("/admin/")
    assert "Nobody is told when something goes wrong" in visit.text()
    visit.picture("50-nobody-is-told")
    visit.follow(visit.page.get_by_role("link", name="Who gets what").last)
    visit.go("/admin/payments/notificationrule/add/")
    visit.picture("51-rule-form")
    visit.page.get_by_label("Name").fill("Finance on call")
    visit.page.get_by_label("E-mail addresses").fill("ada@shop.example")
    visit.press("Put in force")
    text = visit.text()
    assert "The rule is in force" in text
    assert "A payer disputes a payment" in text
    visit.assert_that_texts_stand_out()
    visit.picture("52-rule")
    row = dead_row(the_rule())
    visit.go("/admin/payments/notification/")
    assert "550 no such mailbox" in visit.text()
    visit.picture("53-notifications", whole=False)
    visit.go(f"/admin/payments/notification/{row.pk}/change/")
    visit.picture("54-notification", whole=False)
    visit.follow(visit.page.get_by_role("link", name="Give up").first)
    visit.picture("55-give-up", whole=False)
    visit.page.get_by_label("Why").fill("Ada left.")
    visit.press("Give up")
    assert "1 given up" in visit.text()


@pytest.mark.parametrize("width", [390, 800])
def test_a_mail_is_readable_and_holds_no_markup_of_others(
    page: Page, staff: Callable[[str], Staff], width: int
) -> None:
    from django.template.loader import render_to_string

    add_rule(staff("Operations"), addresses="ada@shop.example")
    row = dead_row(the_rule(), facts=(("Merchant", "<img src=x onerror=alert(1)>Bob & Co"),))
    html = render_to_string("email/notification.html", {"message": message_of(row)})
    Notification.objects.filter(pk=row.pk).update(status="discarded", reason="of a test")
    page.set_viewport_size({"width": width, "height": 900})
    page.set_content(html)
    assert page.locator("img").count() == 0
    assert "<img src=x onerror=alert(1)>Bob & Co" in page.inner_text("body")
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0
    picture(page, f"56-mail-{width}")
