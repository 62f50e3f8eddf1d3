"""Restricted keys: every address asks for one scope, and a key without it is told which."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError
from django.urls import URLPattern, get_resolver

from audit.log import Actor, acting_as
from payments.actions.api_keys import issue_api_key
from payments.api.authentication import find_caller, forget_callers
from payments.api.views.base import PublishableKeyView, SecretKeyView
from payments.errors import FlorinError
from payments.models import ApiKey
from payments.scopes import RESOURCES, SCOPES, opens, scope_of, scope_words
from tests.payments.api.conftest import Api, error_of, payment_body
from tests.payments.shop import Shop

STAFF = Actor(type="user", id="1", display="alice")
METHODS = ("get", "post", "patch", "put", "delete")


def restricted(shop: Shop, scopes: Collection[str], **more: Any) -> tuple[ApiKey, str]:
    """A restricted test key of the shop and the key itself."""
    return issue_api_key(
        merchant=shop.merchant,
        kind=ApiKey.Kind.RESTRICTED,
        livemode=False,
        name="",
        actor=STAFF,
        now=datetime.now(UTC),
        scopes=scopes,
        **more,
    )


def with_scopes(shop: Shop, *scopes: str) -> Api:
    return Api(restricted(shop, scopes)[1])


def routes() -> Iterator[tuple[str, str, type[SecretKeyView]]]:
    """Method, address with an id that does not exist, and view of every route for servers."""
    for pattern in get_resolver("payments.api.urls").url_patterns:
        assert isinstance(pattern, URLPattern)
        view = getattr(pattern.callback, "view_class", None)
        if view is None or issubclass(view, PublishableKeyView):
            continue
        address = "/" + re.sub(r"<id:\w+>", "pay_01kafr7xh8f0v9d3m2c5t6b7ne", str(pattern.pattern))
        for method in METHODS:
            if hasattr(view, method):
                yield method.upper(), address, view


ROUTES = sorted(routes(), key=lambda route: route[:2])


@pytest.mark.parametrize(
    ("method", "address", "view"), ROUTES, ids=[f"{method} {path}" for method, path, _ in ROUTES]
)
def test_every_route_asks_for_its_scope_and_for_no_other(
    shop: Shop, method: str, address: str, view: type[SecretKeyView]
) -> None:
    assert view.resource in RESOURCES, f"{view.__name__} names no resource"
    needed = scope_of(view.resource, method)
    assert needed in SCOPES
    all_others = [scope for scope in SCOPES if not opens([scope], needed)]
    refused = ask(with_scopes(shop, *all_others), method, address)
    error = error_of(refused)
    assert (refused.status_code, error["code"]) == (403, "scope_missing")
    assert error["required_scope"] == needed
    assert needed in error["message"]
    assert ask(with_scopes(shop, needed), method, address).status_code != 403


def ask(api: Api, method: str, address: str) -> Any:
    calls = {"GET": api.get, "DELETE": api.delete}
    if method in calls:
        return calls[method](address)
    return api.patch(address, {}) if method == "PATCH" else api.post(address, {})


def test_the_routes_of_payments_events_and_money_are_among_them() -> None:
    assert {view.resource for _, _, view in ROUTES} >= {"payments", "events", "balance"}
    assert len(ROUTES) > 15


def test_writing_includes_reading_and_not_the_other_way_round(shop: Shop) -> None:
    writer = with_scopes(shop, "payments:write")
    payment = writer.create()
    assert writer.get(f"/v1/payments/{payment['id']}").status_code == 200
    reader = with_scopes(shop, "payments:read")
    assert reader.get(f"/v1/payments/{payment['id']}").status_code == 200
    refused = reader.post("/v1/payments", payment_body())
    assert error_of(refused)["required_scope"] == "payments:write"


def test_a_refused_request_leaves_no_idempotency_key_behind(shop: Shop) -> None:
    key = "the-same-key-for-both-requests"
    reader, writer = with_scopes(shop, "payments:read"), with_scopes(shop, "payments:write")
    assert reader.post("/v1/payments", payment_body(), idempotency_key=key).status_code == 403
    assert writer.post("/v1/payments", payment_body(), idempotency_key=key).status_code == 201


def test_a_restricted_key_is_no_publishable_key(shop: Shop, api: Api) -> None:
    payment = api.create()
    every = with_scopes(shop, *SCOPES)
    answer = every.get(f"/v1/client/payments/{payment['id']}")
    assert (answer.status_code, error_of(answer)["code"]) == (403, "publishable_key_required")


def test_a_restricted_key_says_so_and_knows_its_mode(shop: Shop) -> None:
    row, clear = restricted(shop, ["events:read", "balance:read"])
    assert clear.startswith("rk_test_")
    assert row.scopes == ["events:read", "balance:read"]
    history = row.history.latest()
    assert history.scopes == row.scopes


@pytest.mark.parametrize(
    ("kind", "scopes", "words"),
    [
        ("restricted", [], "at least one scope"),
        ("restricted", ["payments:own"], "There is no scope 'payments:own'"),
        ("restricted", ["balance:write"], "There is no scope 'balance:write'"),
        ("secret", ["payments:read"], "Only restricted keys have scopes"),
        ("publishable", ["payments:read"], "Only restricted keys have scopes"),
    ],
)
def test_scopes_that_make_no_sense_are_refused_and_by_the_database_too(
    shop: Shop, kind: str, scopes: list[str], words: str
) -> None:
    with pytest.raises(FlorinError, match=words):
        issue_api_key(
            merchant=shop.merchant,
            kind=kind,
            livemode=False,
            name="",
            actor=STAFF,
            now=datetime.now(UTC),
            scopes=scopes,
        )
    key = ApiKey.objects.filter(merchant=shop.merchant, kind="secret").get()
    with acting_as(STAFF), pytest.raises(IntegrityError, match="api_key_scopes"):
        ApiKey.objects.filter(pk=key.pk).update(kind=kind, scopes=scopes)


def test_a_key_is_refused_from_the_moment_it_expires_also_while_it_is_remembered(
    shop: Shop,
) -> None:
    now = datetime.now(UTC)
    ends = now + timedelta(hours=1)
    _, clear = restricted(shop, ["balance:read"], expires_at=ends)
    assert Api(clear).get("/v1/balance").status_code == 200
    find_caller(clear, now=ends - timedelta(microseconds=1))
    with pytest.raises(FlorinError, match="has expired") as refusal:
        find_caller(clear, now=ends)
    assert refusal.value.status == 401
    assert Api(clear).get("/v1/balance").status_code == 200


def test_a_key_cannot_expire_before_it_is_issued(shop: Shop) -> None:
    with pytest.raises(FlorinError, match="expires in the future"):
        restricted(shop, ["balance:read"], expires_at=datetime.now(UTC))


def test_the_last_use_is_written_once_a_minute_and_leaves_no_history(shop: Shop) -> None:
    row, clear = restricted(shop, ["balance:read"])
    used = _moment_of_use(row, clear, datetime.now(UTC))
    assert used is not None
    assert _moment_of_use(row, clear, used + timedelta(seconds=59)) == used
    later = used + timedelta(seconds=60)
    assert _moment_of_use(row, clear, later) == later
    assert row.history.count() == 1


def _moment_of_use(row: ApiKey, clear: str, now: datetime) -> datetime | None:
    """When the key was used as far as is written down, after a use by a process that starts."""
    forget_callers()
    find_caller(clear, now=now)
    return ApiKey.objects.get(pk=row.pk).last_used_at


def test_every_scope_has_words_of_its_own() -> None:
    words = [scope_words(scope) for scope in SCOPES]
    assert len(set(words)) == len(SCOPES)
    assert scope_words("refunds:write") == "Read and change refunds: give money back"
    assert all(len(each) < 80 for each in words)


def test_the_guide_lists_every_scope_as_it_is() -> None:
    guide = (settings.BASE_DIR / "docs" / "api.md").read_text()
    row = re.compile(
        r"^\| `(\w+:read)` \| (.*?) \| (?:`(\w+:write)`)? ?\| (.*?) ?\|$", re.MULTILINE
    )
    assert row.findall(guide) == [
        (f"{name}:read", resource.shows, f"{name}:write" * bool(resource.does), resource.does)
        for name, resource in RESOURCES.items()
    ]
