"""Who acts and in which request: contexts, the request middleware, and what the logs get of it."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from audit import log
from audit.middleware import AuditContextMiddleware, trace_id_of
from tests.audit.conftest import ACTOR, append_event, fresh_id

OTHER = log.Actor(type="job", id="night")


def handled(request: HttpRequest, view: Any) -> HttpResponse:
    response = AuditContextMiddleware(view)(request)
    assert isinstance(response, HttpResponse)
    return response


def test_outside_any_context_nobody_is_known() -> None:
    assert log.current_actor() is None
    assert log.current_context() == log.AuditContext()
    with pytest.raises(log.MissingActor, match="acting_as"):
        log.set_actor(ACTOR)


def test_an_inner_context_keeps_the_request_of_the_outer_one() -> None:
    with log.acting_as(ACTOR, trace_id="a" * 32, request_id="req_1", reason="why"):
        with log.acting_as(OTHER) as inner:
            assert inner == log.AuditContext(OTHER, "a" * 32, "req_1", "why")
        with log.acting_as(OTHER, trace_id="", request_id="", reason="else") as inner:
            assert inner == log.AuditContext(OTHER, "", "", "else")
        assert log.current_actor() == ACTOR
    assert log.current_actor() is None


def test_a_trace_id_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="32 lower-case"), log.acting_as(ACTOR, trace_id="A" * 32):
        pass


def test_the_logs_get_the_ids_and_lose_them_again() -> None:
    before = structlog.contextvars.get_contextvars()
    with log.acting_as(ACTOR, trace_id="a" * 32, request_id="req_1"):
        log.set_actor(OTHER)
        structlog.contextvars.bind_contextvars(payment="pay_1")
        assert structlog.contextvars.get_contextvars() == before | {
            "trace_id": "a" * 32,
            "request_id": "req_1",
            "actor": "job:night",
            "payment": "pay_1",
        }
    assert structlog.contextvars.get_contextvars() == before


def test_threads_do_not_see_each_others_actor() -> None:
    def work(number: int) -> bool:
        actor = log.Actor(type="job", id=str(number))
        with log.acting_as(actor):
            return log.current_actor() == actor

    with log.acting_as(ACTOR), ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(200)))
        assert threads.submit(log.current_actor).result() is None


def test_a_request_gets_an_id_of_ours_whatever_it_claims(rf: RequestFactory) -> None:
    seen: list[log.AuditContext] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(log.current_context())
        return HttpResponse()

    response = handled(rf.get("/", headers={"Request-Id": "req_forged"}), view)
    assert re.fullmatch(r"req_[0-9a-z]{26}", response["Request-Id"])
    assert seen[0].request_id == response["Request-Id"]
    assert re.fullmatch("[0-9a-f]{32}", seen[0].trace_id)
    assert log.current_context() == log.AuditContext()


def test_the_context_ends_also_when_the_view_fails(rf: RequestFactory) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        handled(rf.get("/"), view)
    assert log.current_context() == log.AuditContext()


@pytest.mark.parametrize(
    ("traceparent", "taken_over"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", True),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", False),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", False),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", False),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", False),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", False),
        ("4bf92f3577b34da6a3ce929d0e0e4736", False),
        ("", False),
    ],
)
def test_a_valid_traceparent_is_taken_over_and_no_other(traceparent: str, taken_over: bool) -> None:
    trace_id = trace_id_of(traceparent)
    assert re.fullmatch("[0-9a-f]{32}", trace_id)
    assert (trace_id == "4bf92f3577b34da6a3ce929d0e0e4736") is taken_over


def test_the_staff_member_of_a_request_is_the_actor_unless_another_is_named(
    rf: RequestFactory,
) -> None:
    user = User.objects.create_user(fresh_id("user"))
    events = []

    def view(request: HttpRequest) -> HttpResponse:
        request.user = user
        events.append(append_event(actor=None))
        log.set_actor(ACTOR)
        events.append(append_event(actor=None))
        return HttpResponse()

    response = handled(rf.get("/"), view)
    assert [(event.actor_type, event.actor_id, event.actor_display) for event in events] == [
        ("user", str(user.pk), user.username),
        ("api_key", "key_test", "Test key"),
    ]
    assert {event.request_id for event in events} == {response["Request-Id"]}


@pytest.mark.parametrize("signed_out", [AnonymousUser(), None])
def test_a_request_of_nobody_has_no_actor(rf: RequestFactory, signed_out: Any) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        if signed_out:
            request.user = signed_out
        assert log.current_actor() is None
        return HttpResponse()

    handled(rf.get("/"), view)


def test_requests_in_one_event_loop_keep_their_contexts_apart(rf: RequestFactory) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        mine = log.current_context().request_id
        await asyncio.sleep(0)
        assert log.current_context().request_id == mine
        return HttpResponse(mine)

    async def all_at_once() -> list[Any]:
        middleware: Any = AuditContextMiddleware(view)
        return await asyncio.gather(*(middleware(rf.get("/")) for _ in range(20)))

    responses = asyncio.run(all_at_once())
    assert all(answer["Request-Id"] == answer.content.decode() for answer in responses)
    assert len({answer["Request-Id"] for answer in responses}) == 20
