"""Keys change hands without an outage: a successor, an overlap, an end."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from audit.log import Actor
from audit.timeline import timeline
from payments.actions.api_keys import issue_api_key, revoke_api_key, rotate_api_key
from payments.api.authentication import find_caller
from payments.errors import FlorinError
from payments.models import ApiKey
from tests.payments.api.conftest import Api
from tests.payments.shop import Shop

STAFF = Actor(type="user", id="1", display="alice")
DAY = timedelta(days=1)


def issued(shop: Shop, **more: object) -> tuple[ApiKey, str]:
    asked = {"kind": "restricted", "scopes": ["payments:write", "balance:read"], "name": "Shop"}
    return issue_api_key(
        merchant=shop.merchant,
        livemode=False,
        actor=STAFF,
        now=datetime.now(UTC),
        **(asked | more),  # type: ignore[arg-type]
    )


def rotated(key: ApiKey, overlap: timedelta, *, now: datetime | None = None) -> tuple[ApiKey, str]:
    return rotate_api_key(key=key, overlap=overlap, actor=STAFF, now=now or datetime.now(UTC))


def test_the_successor_may_do_the_same_and_both_work_until_the_overlap_ends(shop: Shop) -> None:
    old, old_clear = issued(shop)
    now = datetime.now(UTC)
    new, new_clear = rotated(old, DAY, now=now)
    old.refresh_from_db()
    assert (new.kind, new.scopes, new.livemode, new.name) == (
        old.kind,
        old.scopes,
        old.livemode,
        old.name,
    )
    assert (new.rotated_from_id, new.expires_at, old.expires_at) == (old.pk, None, now + DAY)
    for clear in (old_clear, new_clear):
        assert Api(clear).get("/v1/balance").status_code == 200
    find_caller(old_clear, now=now + DAY - timedelta(seconds=1))
    with pytest.raises(FlorinError, match="has expired"):
        find_caller(old_clear, now=now + DAY)
    find_caller(new_clear, now=now + 300 * DAY)


@pytest.mark.parametrize("kind", ["secret", "publishable"])
def test_keys_of_every_kind_are_rotated(shop: Shop, kind: str) -> None:
    old = ApiKey.objects.get(merchant=shop.merchant, kind=kind)
    new, clear = rotated(old, DAY)
    assert (new.kind, new.scopes) == (kind, [])
    assert clear[:3] == {"secret": "sk_", "publishable": "pk_"}[kind]


def test_without_an_overlap_the_old_key_ends_at_once(shop: Shop) -> None:
    old, clear = issued(shop)
    rotated(old, timedelta())
    answer = Api(clear).get("/v1/balance")
    assert answer.status_code == 401
    assert "expired" in answer.json()["error"]["message"]


def test_both_sides_of_a_rotation_are_audited_with_who_did_it(shop: Shop) -> None:
    old, _ = issued(shop)
    new, _ = rotated(old, DAY)
    told = {
        record.event_type: record
        for record in timeline(stream_type="merchant", stream_id=shop.merchant.pk)
        if new.pk in str(record.body)
    }
    assert set(told) == {"api_key.issued", "api_key.rotated"}
    assert {record.actor_id for record in told.values()} == {STAFF.id}
    assert told["api_key.rotated"].body["key"] == old.pk
    assert old.history.count() == 2


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=7, seconds=1)])
def test_an_overlap_is_nothing_to_seven_days(shop: Shop, overlap: timedelta) -> None:
    old, _ = issued(shop)
    with pytest.raises(FlorinError, match="0 to 7 days"):
        rotated(old, overlap)
    assert not ApiKey.objects.filter(rotated_from=old).exists()


def test_a_key_that_is_over_or_was_rotated_is_not_rotated(shop: Shop) -> None:
    revoked, _ = issued(shop)
    revoke_api_key(key=revoked, actor=STAFF, now=datetime.now(UTC))
    with pytest.raises(FlorinError, match="is revoked"):
        rotated(revoked, DAY)
    short, _ = issued(shop, expires_at=datetime.now(UTC) + DAY)
    with pytest.raises(FlorinError, match="has expired"):
        rotated(short, DAY, now=datetime.now(UTC) + 2 * DAY)
    twice, _ = issued(shop)
    successor, _ = rotated(twice, DAY)
    with pytest.raises(FlorinError, match=f"successor {successor.pk}"):
        rotated(twice, DAY)


def test_rotating_never_prolongs_a_life_that_has_an_end(shop: Shop) -> None:
    ends = datetime.now(UTC) + timedelta(hours=1)
    old, _ = issued(shop, expires_at=ends)
    new, _ = rotated(old, 7 * DAY)
    old.refresh_from_db()
    assert (old.expires_at, new.expires_at) == (ends, ends)


def test_two_rotations_at_once_make_one_successor(shop: Shop) -> None:
    old, _ = issued(shop)
    results: list[str] = []
    together = threading.Barrier(2)

    def rotate() -> None:
        together.wait(timeout=10)
        try:
            rotated(old, DAY)
            results.append("done")
        except FlorinError:
            results.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=rotate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(results) == ["done", "refused"]
    assert ApiKey.objects.filter(rotated_from=old).count() == 1


def test_revoking_ends_the_overlap(shop: Shop) -> None:
    old, clear = issued(shop)
    rotated(old, 7 * DAY)
    revoke_api_key(key=old, actor=STAFF, now=datetime.now(UTC))
    assert Api(clear).get("/v1/balance").status_code == 401
