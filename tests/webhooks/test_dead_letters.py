"""What waits for a person is one list with two verbs, in the back office too."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

import psycopg
import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from audit import log
from tests.webhooks import effects
from tests.webhooks.conftest import ACTOR, drain_outbox, emit
from webhooks import dead_letters, endpoints, inbox, retries
from webhooks.models import (
    DeadLetter,
    EventDelivery,
    FailedAttempt,
    InboxEvent,
    MerchantDelivery,
)


@pytest.fixture
def three_dead(aggregate: str, now: datetime) -> dict[str, str]:
    """A dead letter of each kind: kind -> its id."""
    owner = f"mer_{secrets.token_hex(6)}"
    with log.acting_as(ACTOR):
        endpoint, _ = endpoints.create(
            owner=owner,
            livemode=False,
            url="http://93.184.216.34/",
            event_types=["*"],
            now=now,
        )
    effects.trouble[aggregate] = ValueError("poison")
    emit(aggregate, now, owner=owner, trouble_at=1)
    emit(aggregate, now, trouble_at=1)
    received = inbox.receive(
        provider="testing",
        account_id="pacc_1",
        event_id=f"evt_{aggregate}",
        event_type="bad",
        subject=aggregate,
        raw=b"1",
        headers={"Stripe-Signature": "t=1,v1=abcdef", "Host": "florin.test"},
        received_at=now,
    )
    moment = now
    for _ in range(retries.FAILURE_LIMIT):
        drain_outbox(moment)
        inbox.drain(apply=effects.apply, now=moment)
        moment += timedelta(hours=2)
    delivery = MerchantDelivery.objects.get(endpoint_id=endpoint.id)
    MerchantDelivery.objects.filter(pk=delivery.pk).update(
        status="dead", due_at=None, reason="10 attempts failed", finished_at=now
    )
    handler = EventDelivery.objects.get(lane=f"outbox:order:{aggregate}", handler="blocking", seq=1)
    effects.trouble.clear()
    return {
        "inbox": f"inbox:{received.id}",
        "handler": f"handler:{handler.pk}",
        "merchant": f"merchant:{delivery.pk}",
    }


def statuses(three: dict[str, str]) -> list[str]:
    rows = {kind: dead_id.partition(":")[2] for kind, dead_id in three.items()}
    return [
        InboxEvent.objects.get(pk=rows["inbox"]).status,
        EventDelivery.objects.get(pk=rows["handler"]).status,
        MerchantDelivery.objects.get(pk=rows["merchant"]).status,
    ]


def test_the_list_holds_all_three_kinds_with_what_they_hold_up(
    three_dead: dict[str, str],
) -> None:
    letters = {
        letter.kind: letter for letter in DeadLetter.objects.filter(pk__in=three_dead.values())
    }
    assert set(letters) == {"inbox", "handler", "merchant"}
    assert letters["inbox"].what == "bad from testing"
    assert letters["handler"].what == "order.changed to blocking"
    assert (letters["handler"].holds, letters["handler"].attempts) == (1, 3)
    assert letters["merchant"].what == "order.changed to http://93.184.216.34/"
    assert str(letters["inbox"]) == "bad from testing"


def test_all_kinds_are_replayed_by_one_call(three_dead: dict[str, str], now: datetime) -> None:
    assert dead_letters.replay(three_dead.values(), actor=ACTOR, now=now) == 3
    assert statuses(three_dead) == ["received", "pending", "pending"]


def test_all_kinds_are_discarded_by_one_call_with_words(
    three_dead: dict[str, str], now: datetime
) -> None:
    with pytest.raises(ValueError, match="Say why"):
        dead_letters.discard(three_dead.values(), reason=" ", actor=ACTOR, now=now)
    assert dead_letters.discard(three_dead.values(), reason="no use", actor=ACTOR, now=now) == 3
    assert statuses(three_dead) == ["discarded"] * 3


@pytest.mark.parametrize("wrong", ["inbox:", "letter:7", "7"])
def test_an_id_of_no_kind_is_refused(wrong: str, now: datetime) -> None:
    with pytest.raises(ValueError, match="no dead letter"):
        dead_letters.replay([wrong], actor=ACTOR, now=now)


def staff(*permissions: str) -> tuple[Client, User]:
    user = User.objects.create_user(f"staff-{secrets.token_hex(4)}", is_staff=True)
    for codename in permissions:
        user.user_permissions.add(
            Permission.objects.get(codename=codename, content_type__app_label="webhooks")
        )
    client = Client()
    client.force_login(user)
    return client, user


def act(client: Client, action: str, ids: list[str], reason: str = "") -> str:
    response = client.post(
        reverse("admin:webhooks_deadletter_changelist"),
        {"action": action, "_selected_action": ids, "reason": reason, "index": 0},
        follow=True,
    )
    return response.content.decode()


def test_staff_replay_and_discard_in_the_back_office_under_their_own_name(
    three_dead: dict[str, str],
) -> None:
    client, user = staff("view_deadletter", "change_deadletter")
    handler, received = three_dead["handler"], three_dead["inbox"]
    assert "1 queued again" in act(client, "replay_selected", [handler])
    assert "Write the reason" in act(client, "discard_selected", [received])
    assert "1 discarded" in act(client, "discard_selected", [received], "settled by phone")
    assert statuses(three_dead)[:2] == ["discarded", "pending"]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT actor_id, actor_display FROM audit_event"
            " WHERE stream_id = ANY(%s) AND event_type <> 'dead_letter.added'",
            [[handler, received]],
        )
        assert cursor.fetchall() == [(str(user.pk), user.get_username())]


def test_staff_who_may_only_look_can_mend_nothing(three_dead: dict[str, str]) -> None:
    client, _ = staff("view_deadletter")
    assert (
        "Replay selected"
        not in client.get(reverse("admin:webhooks_deadletter_changelist")).content.decode()
    )
    act(client, "replay_selected", list(three_dead.values()))
    assert statuses(three_dead) == ["dead"] * 3


def test_every_page_opens_and_shows_no_secret(three_dead: dict[str, str]) -> None:
    client, _ = staff(
        "view_deadletter",
        "view_domainevent",
        "view_inboxevent",
        "view_eventdelivery",
        "view_merchantdelivery",
        "view_webhookendpoint",
    )
    rows = {kind: dead_id.partition(":")[2] for kind, dead_id in three_dead.items()}
    delivery = MerchantDelivery.objects.get(pk=rows["merchant"])
    pages = {
        "deadletter": three_dead["handler"],
        "domainevent": delivery.event_id,
        "inboxevent": rows["inbox"],
        "eventdelivery": rows["handler"],
        "merchantdelivery": rows["merchant"],
        "webhookendpoint": delivery.endpoint_id,
    }
    for model, primary_key in pages.items():
        listing = client.get(reverse(f"admin:webhooks_{model}_changelist"))
        assert listing.status_code == 200, model
        page = client.get(reverse(f"admin:webhooks_{model}_change", args=[primary_key]))
        assert page.status_code == 200, model
        assert "v1=abcdef" not in page.content.decode()
        assert "whsec_" not in page.content.decode()
    inbox_page = client.get(reverse("admin:webhooks_inboxevent_change", args=[rows["inbox"]]))
    assert "florin.test" in inbox_page.content.decode()


def test_every_failed_try_is_kept_and_shown_with_its_time_and_outcome(
    three_dead: dict[str, str],
) -> None:
    handler, received = (three_dead[kind].partition(":")[2] for kind in ("handler", "inbox"))
    for kind, row_id, source in (("handler", handler, "blocking"), ("inbox", received, "testing")):
        tries = list(FailedAttempt.objects.filter(kind=kind, row_id=row_id).order_by("id"))
        assert [each.number for each in tries] == [1, 2, 3]
        assert {(each.outcome, each.source, each.reason) for each in tries} == {
            ("failed", source, "ValueError: poison")
        }
        assert all(each.duration_ms is not None and "Traceback" in each.error for each in tries)
    client, _ = staff("view_deadletter")
    page = client.get(reverse("admin:webhooks_deadletter_change", args=[f"handler:{handler}"]))
    assert page.content.decode().count("ValueError: poison") >= 4


def test_the_application_cannot_rewrite_a_try(
    three_dead: dict[str, str], second_connection: psycopg.Connection
) -> None:
    for statement in (
        "UPDATE webhooks_failed_attempt SET reason = ''",
        "DELETE FROM webhooks_failed_attempt",
        "DELETE FROM webhooks_dead_letter_run",
        "UPDATE webhooks_dead_letter_run SET total = 1",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
            second_connection.execute(statement.encode())


def test_the_page_says_why_what_waits_behind_it_and_masks_what_is_secret(
    three_dead: dict[str, str],
) -> None:
    client, _ = staff("view_deadletter", "change_deadletter")

    def shown(kind: str) -> str:
        url = reverse("admin:webhooks_deadletter_change", args=[three_dead[kind]])
        return client.get(url).content.decode()

    handler = shown("handler")
    row = EventDelivery.objects.get(pk=three_dead["handler"].partition(":")[2])
    held = EventDelivery.objects.get(lane=row.lane, handler=row.handler, seq=2)
    assert reverse("admin:webhooks_eventdelivery_change", args=[held.pk]) in handler
    assert "only after this one" in handler
    assert reverse("admin:webhooks_domainevent_change", args=[row.event_id]) in handler
    inbox_page = shown("inbox")
    assert "holds nothing" in inbox_page or "Nothing. Later news" in inbox_page
    assert "v1=abcdef" not in inbox_page
    merchant = shown("merchant")
    delivery = MerchantDelivery.objects.get(pk=three_dead["merchant"].partition(":")[2])
    assert reverse("admin:webhooks_webhookendpoint_change", args=[delivery.endpoint_id]) in merchant


def test_the_buttons_of_the_page_replay_and_discard_one(three_dead: dict[str, str]) -> None:
    client, _ = staff("view_deadletter", "change_deadletter", "view_eventdelivery")
    replay = reverse("admin:webhooks_deadletter_replay", args=[three_dead["handler"]])
    discard = reverse("admin:webhooks_deadletter_discard", args=[three_dead["merchant"]])
    assert "Queued again" in client.post(replay, follow=True).content.decode()
    assert "dead no more" in client.post(replay, follow=True).content.decode()
    assert "Write why" in client.post(discard, {"reason": " "}, follow=True).content.decode()
    assert statuses(three_dead) == ["dead", "pending", "dead"]
    client.post(discard, {"reason": "the shop is closed"})
    assert statuses(three_dead) == ["dead", "pending", "discarded"]
