"""The audit log in the back office: found, shown, recorded when looked at, never changed."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from audit import log
from audit.models import AuditEvent
from audit.timeline import timeline
from tests.audit.conftest import append_event, fresh_id

LIST = "admin:audit_auditevent_changelist"


@pytest.fixture
def staff() -> User:
    """A member of staff who may look at the audit log and at nothing else."""
    user = User.objects.create_user(fresh_id("user"), is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_auditevent"))
    return user


@pytest.fixture
def browser(staff: User) -> Client:
    client = Client(raise_request_exception=True)
    client.force_login(staff)
    return client


def page_of(event: AuditEvent) -> str:
    return reverse("admin:audit_auditevent_change", args=[event.pk])


def test_an_event_is_found_by_any_of_its_ids(browser: Client) -> None:
    payment, intent = fresh_id(), fresh_id("pi")
    with log.acting_as(log.Actor(type="job", id="j"), request_id=fresh_id("req")):
        event = append_event(stream_id=payment, references=[("provider_payment", intent)])
    for text in (payment, payment[:-3], intent, event.request_id):
        found = browser.get(reverse(LIST), {"q": text}).content.decode()
        assert page_of(event) in found
    assert page_of(event) not in browser.get(reverse(LIST), {"q": fresh_id()}).content.decode()


def test_the_list_shows_the_latest_events_first(browser: Client) -> None:
    older, newer = append_event(), append_event()
    shown = browser.get(reverse(LIST)).content.decode()
    assert shown.index(page_of(newer)) < shown.index(page_of(older))


def test_an_event_is_shown_with_its_content_and_that_its_hash_fits(browser: Client) -> None:
    event = append_event(
        body={"note": "<script>alert(1)</script>"}, references=[("order", "order<7>")]
    )
    shown = browser.get(page_of(event)).content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<script>alert(1)" not in shown
    assert "order&lt;7&gt;" in shown
    assert f"{bytes(event.leaf_hash).hex()} (fits what is stored)" in shown
    assert event.actor_display in shown


def test_looking_at_an_event_is_recorded_in_the_story_of_its_payment(
    browser: Client, staff: User
) -> None:
    event = append_event()
    response = browser.get(page_of(event))
    view = timeline(stream_type="payment", stream_id=event.stream_id)[0]
    assert (view.event_type, view.stream_type, view.stream_id) == (
        "record.viewed",
        "audit_event",
        str(event.pk),
    )
    assert (view.actor_type, view.actor_id) == ("user", str(staff.pk))
    assert view.request_id == response["Request-Id"]


def test_looking_at_the_list_is_recorded_with_the_search(browser: Client) -> None:
    browser.get(reverse(LIST), {"q": "order-7"})
    assert timeline(stream_type="audit_log", stream_id="list")[0].body == {
        "what": "search for 'order-7'"
    }
    browser.get(reverse(LIST))
    assert timeline(stream_type="audit_log", stream_id="list")[0].body == {"what": "latest events"}


def test_a_list_asked_for_in_a_wrong_way_is_no_view(browser: Client) -> None:
    before = timeline(stream_type="audit_log", stream_id="list", limit=1)
    assert browser.get(reverse(LIST), {"nonsense__exact": "1"}).status_code == 302
    assert timeline(stream_type="audit_log", stream_id="list", limit=1) == before


def test_an_event_that_does_not_exist_is_no_view(browser: Client) -> None:
    response = browser.get(reverse("admin:audit_auditevent_change", args=[2**62]))
    assert response.status_code == 302
    assert timeline(stream_type="audit_event", stream_id=str(2**62)) == []


def test_nobody_adds_changes_or_deletes_an_event_the_superuser_included() -> None:
    client = Client()
    client.force_login(User.objects.create_superuser(fresh_id("root")))
    event = append_event()
    add = reverse("admin:audit_auditevent_add")
    delete = reverse("admin:audit_auditevent_delete", args=[event.pk])
    assert client.get(add).status_code == client.post(add).status_code == 403
    assert client.post(page_of(event), {"body": "{}"}).status_code == 403
    assert client.post(delete, {"post": "yes"}).status_code == 403
    assert client.post(reverse(LIST), {"action": "delete_selected", "_selected_action": [event.pk]})
    assert bytes(AuditEvent.objects.get(pk=event.pk).leaf_hash) == bytes(event.leaf_hash)


def test_staff_without_the_permission_see_nothing() -> None:
    client = Client()
    client.force_login(User.objects.create_user(fresh_id("user"), is_staff=True))
    event = append_event()
    assert client.get(reverse(LIST)).status_code == 403
    assert client.get(page_of(event)).status_code == 403
    assert timeline(stream_type="audit_event", stream_id=str(event.pk)) == []


def test_the_list_is_never_counted(browser: Client) -> None:
    statements: list[str] = []

    def watch(execute: object, sql: str, params: object, many: bool, context: object) -> object:
        statements.append(sql)
        return execute(sql, params, many, context)  # type: ignore[operator]

    append_event()
    with connection.execute_wrapper(watch):
        browser.get(reverse(LIST))
    assert any('FROM "audit_event"' in sql for sql in statements)
    assert not [sql for sql in statements if "COUNT(" in sql and "audit_event" in sql]
