"""Merchants' endpoints: judged before they are stored, secrets shown once, changes audited."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

import pytest
from django.db import connection
from pytest_django import Settings

from audit import log
from tests.webhooks.conftest import ACTOR, drain_outbox, emit
from webhooks import endpoints
from webhooks.models import DomainEvent, MerchantDelivery, WebhookEndpoint


@pytest.fixture
def owner() -> str:
    return f"mer_{secrets.token_hex(8)}"


def create(owner: str, now: datetime, **values: object) -> tuple[endpoints.EndpointView, str]:
    chosen: dict[str, object] = {
        "url": "https://93.184.216.34/hook",
        "event_types": ["*"],
        "livemode": True,
    }
    with log.acting_as(ACTOR):
        return endpoints.create(owner=owner, now=now, **chosen | values)  # type: ignore[arg-type]


def test_a_new_endpoint_shows_its_secret_once_and_keeps_it_encrypted(
    owner: str, now: datetime
) -> None:
    view, secret = create(owner, now)
    row = WebhookEndpoint.objects.get(pk=view.id)
    assert secret.startswith("whsec_")
    assert secret.encode() not in bytes(row.secret)
    assert endpoints.secrets_of(row, now=now) == [secret]
    assert secret not in repr(
        endpoints.get(owner=owner, livemode=True, endpoint_id=view.id, now=now)
    )


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"url": "http://93.184.216.34/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://localhost/"}, "url"),
        ({"url": "nonsense"}, "url"),
        ({"event_types": []}, "event_types"),
        ({"event_types": ["payment.settled "]}, "event_types"),
        ({"event_types": [7]}, "event_types"),
        ({"event_types": ["a.b"] * 101}, "event_types"),
        ({"description": "x" * 501}, "description"),
        ({"description": "nul\x00"}, "description"),
    ],
)
def test_a_wrong_value_is_refused_with_its_field_and_leaves_nothing(
    owner: str, now: datetime, values: dict[str, object], field: str
) -> None:
    with pytest.raises(endpoints.EndpointInvalid) as refusal:
        create(owner, now, **values)
    assert refusal.value.field == field
    assert not WebhookEndpoint.objects.filter(owner=owner).exists()


def test_a_name_that_does_not_resolve_just_now_may_be_stored(owner: str, now: datetime) -> None:
    view, _ = create(owner, now, url="https://hooks.merchant.invalid/in")
    assert view.status == "enabled"


def test_the_number_of_endpoints_of_an_owner_is_bounded_and_deleting_frees_a_place(
    owner: str, now: datetime
) -> None:
    views = [create(owner, now)[0] for _ in range(endpoints.ENDPOINTS_PER_OWNER)]
    with pytest.raises(endpoints.EndpointInvalid, match="delete one first"):
        create(owner, now)
    with log.acting_as(ACTOR):
        endpoints.delete(owner=owner, livemode=True, endpoint_id=views[0].id, now=now)
    create(owner, now)


def test_owners_and_modes_do_not_see_each_others_endpoints(owner: str, now: datetime) -> None:
    view, _ = create(owner, now)
    for other in ({"owner": "mer_other", "livemode": True}, {"owner": owner, "livemode": False}):
        with pytest.raises(endpoints.EndpointNotFound):
            endpoints.get(endpoint_id=view.id, now=now, **other)  # type: ignore[arg-type]
        with pytest.raises(endpoints.EndpointNotFound), log.acting_as(ACTOR):
            endpoints.delete(endpoint_id=view.id, now=now, **other)  # type: ignore[arg-type]


def test_pages_run_newest_first_in_both_directions(owner: str, now: datetime) -> None:
    ids = [create(owner, now)[0].id for _ in range(5)][::-1]
    first = endpoints.list_for(owner=owner, livemode=True, limit=2, now=now)
    assert ([view.id for view in first.data], first.has_more) == (ids[:2], True)
    rest = endpoints.list_for(owner=owner, livemode=True, limit=3, now=now, starting_after=ids[1])
    assert ([view.id for view in rest.data], rest.has_more) == (ids[2:], False)
    back = endpoints.list_for(owner=owner, livemode=True, limit=2, now=now, ending_before=ids[3])
    assert ([view.id for view in back.data], back.has_more) == (ids[1:3], True)


def test_an_update_changes_what_is_given_and_is_audited(owner: str, now: datetime) -> None:
    view, _ = create(owner, now)
    with log.acting_as(ACTOR):
        changed = endpoints.update(
            owner=owner,
            livemode=True,
            endpoint_id=view.id,
            url="https://93.184.216.35/",
            event_types=["payment.*", "payment.*"],
            description="till 7",
            now=now,
        )
    assert changed.url == "https://93.184.216.35/"
    assert (changed.event_types, changed.description) == (("payment.*",), "till 7")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT event_type FROM audit_event WHERE stream_type = 'webhook_endpoint'"
            " AND stream_id = %s ORDER BY id",
            [view.id],
        )
        assert [event_type for (event_type,) in cursor.fetchall()] == [
            "webhook_endpoint.created",
            "webhook_endpoint.updated",
        ]
    assert WebhookEndpoint.history.filter(id=view.id).count() == 2


def test_a_change_without_an_actor_does_not_happen(owner: str, now: datetime) -> None:
    with pytest.raises(log.MissingActor):
        endpoints.create(
            owner=owner,
            livemode=True,
            url="https://93.184.216.34/",
            event_types=["*"],
            now=now,
        )
    assert not WebhookEndpoint.objects.filter(owner=owner).exists()


def test_after_a_rotation_the_old_secret_signs_for_a_day(owner: str, now: datetime) -> None:
    view, old = create(owner, now)
    with log.acting_as(ACTOR):
        new = endpoints.rotate_secret(owner=owner, livemode=True, endpoint_id=view.id, now=now)
    row = WebhookEndpoint.objects.get(pk=view.id)
    assert endpoints.secrets_of(row, now=now + timedelta(hours=23)) == [new, old]
    assert endpoints.secrets_of(row, now=now + timedelta(hours=24)) == [new]


@pytest.mark.parametrize("hours", [0, 1, 168])
def test_the_overlap_of_a_rotation_is_what_was_asked_for(
    owner: str, now: datetime, hours: int
) -> None:
    view, old = create(owner, now)
    which: dict[str, object] = {"owner": owner, "livemode": True, "endpoint_id": view.id}
    with log.acting_as(ACTOR):
        new = endpoints.rotate_secret(**which, overlap=timedelta(hours=hours), now=now)  # type: ignore[arg-type]
        for wrong in (timedelta(seconds=-1), timedelta(days=7, seconds=1)):
            with pytest.raises(endpoints.EndpointInvalid) as refusal:
                endpoints.rotate_secret(**which, overlap=wrong, now=now)  # type: ignore[arg-type]
            assert refusal.value.field == "overlap"
    row = WebhookEndpoint.objects.get(pk=view.id)
    ends = now + timedelta(hours=hours)
    moment = timedelta(microseconds=1)
    assert endpoints.secrets_of(row, now=ends - moment) == ([new, old] if hours else [new])
    assert endpoints.secrets_of(row, now=ends) == [new]


def test_of_two_who_saw_the_same_endpoint_one_makes_a_new_secret(owner: str, now: datetime) -> None:
    view, _ = create(owner, now)
    which: dict[str, object] = {"owner": owner, "livemode": True, "endpoint_id": view.id}
    later = now + timedelta(seconds=1)
    with log.acting_as(ACTOR):
        new = endpoints.rotate_secret(**which, unchanged_since=view.updated_at, now=later)  # type: ignore[arg-type]
        with pytest.raises(endpoints.EndpointInvalid, match="changed meanwhile"):
            endpoints.rotate_secret(**which, unchanged_since=view.updated_at, now=later)  # type: ignore[arg-type]
    assert endpoints.secrets_of(WebhookEndpoint.objects.get(pk=view.id), now=later)[0] == new


def test_switching_off_gives_up_what_is_open_and_tells_the_owner(
    owner: str, now: datetime, aggregate: str
) -> None:
    view, _ = create(owner, now, livemode=False)
    emit(aggregate, now, owner=owner)
    drain_outbox(now)
    with log.acting_as(ACTOR):
        off = endpoints.update(
            owner=owner, livemode=False, endpoint_id=view.id, enabled=False, now=now
        )
        on = endpoints.update(
            owner=owner, livemode=False, endpoint_id=view.id, enabled=True, now=now
        )
    delivery = MerchantDelivery.objects.get(endpoint_id=view.id, event__aggregate_id=aggregate)
    assert (off.status, on.status) == ("disabled", "enabled")
    assert delivery.status == "discarded"
    assert DomainEvent.objects.get(aggregate_id=view.id).type == "endpoint.disabled"


def test_an_event_is_promised_to_the_endpoints_that_ask_for_it_and_to_no_others(
    owner: str, now: datetime, aggregate: str, settings: Settings
) -> None:
    wanted = {
        create(owner, now, livemode=False, event_types=types)[0].id
        for types in (["*"], ["order.*"], ["order.changed", "refund.*"])
    }
    create(owner, now, livemode=False, event_types=["refund.*"])
    create(owner, now, livemode=True)
    create(f"{owner}x", now, livemode=False)
    gone, _ = create(owner, now, livemode=False)
    with log.acting_as(ACTOR):
        endpoints.delete(owner=owner, livemode=False, endpoint_id=gone.id, now=now)
    emit(aggregate, now, owner=owner)
    emit(aggregate, now, owner="")
    drain_outbox(now)
    promised = MerchantDelivery.objects.filter(event__aggregate_id=aggregate)
    assert {row.endpoint_id for row in promised} == wanted
    assert promised.count() == 3
