"""Staff sign-ins, sign-outs and failures, as Django tells of them."""

from __future__ import annotations

import pytest
from django.contrib.auth import authenticate, login, logout
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_out, user_login_failed
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.test import RequestFactory

from audit import staff
from audit.timeline import AuditRecord, timeline
from tests.audit.conftest import fresh_id

PASSWORD = "correct horse battery staple"


@pytest.fixture
def user() -> User:
    return User.objects.create_user(fresh_id("user"), password=PASSWORD)


@pytest.fixture
def request_with_session(rf: RequestFactory) -> HttpRequest:
    request = rf.post("/", headers={"User-Agent": "Browser " + "x" * 300}, REMOTE_ADDR="192.0.2.7")
    request.session = SessionStore()
    return request


def latest_of(stream_id: object) -> AuditRecord:
    return timeline(stream_type="user", stream_id=str(stream_id), limit=1)[0]


def failures_of_unknown_users() -> list[AuditRecord]:
    return timeline(stream_type="user", stream_id="unknown")


def test_a_sign_in_and_a_sign_out_are_recorded(
    user: User, request_with_session: HttpRequest
) -> None:
    login(request_with_session, user, backend="django.contrib.auth.backends.ModelBackend")
    record = latest_of(user.pk)
    assert record.event_type == "staff.signed_in"
    assert (record.actor_type, record.actor_id) == ("user", str(user.pk))
    assert record.actor_display == user.username
    assert record.body["remote_address"] == "192.0.2.7"
    assert len(record.body["user_agent"]) == 200
    request_with_session.user = user
    logout(request_with_session)
    assert latest_of(user.pk).event_type == "staff.signed_out"


def test_a_wrong_password_is_recorded_with_the_user_and_without_the_password(
    user: User, rf: RequestFactory
) -> None:
    assert authenticate(rf.post("/"), username=user.username, password="a wrong one") is None
    record = latest_of(user.pk)
    assert record.event_type == "staff.sign_in_failed"
    assert record.body["user_exists"] is True
    assert "a wrong one" not in record.body_text


def test_a_password_typed_as_user_name_is_not_kept() -> None:
    assert authenticate(username="Tr0ub4dor&3-typed-here", password="x") is None
    record = failures_of_unknown_users()[0]
    assert "Tr0ub4dor" not in record.body_text
    tried = record.body["tried_user_name"]
    assert (tried["beginning"], tried["length"]) == ("Tr", "22")
    authenticate(username="Tr0ub4dor&3-typed-here", password="y")
    authenticate(username="somebody else", password="y")
    other, same = failures_of_unknown_users()[:2]
    assert same.body["tried_user_name"] == tried != other.body["tried_user_name"]


def test_of_a_short_unknown_name_nothing_readable_is_kept() -> None:
    assert staff.described_user_name("abcde")["beginning"] == ""


def test_a_failure_without_a_user_name_is_recorded_too() -> None:
    before = len(failures_of_unknown_users())
    user_login_failed.send(sender=__name__, credentials={})
    assert len(failures_of_unknown_users()) == before + 1


def test_the_end_of_an_unknown_session_is_nobodys_sign_out(rf: RequestFactory) -> None:
    user_logged_out.send(sender=User, request=rf.get("/"), user=None)
