"""Who may open what: every page of the registry against every group, and no write where none is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db.models import Model
from django.urls import reverse

from audit import timeline as audit_timeline
from audit.log import Actor
from payments.admin.access import GROUPS, ensure_staff_groups
from payments.models import Merchant, Payment
from tests.databases import TestDatabases
from tests.payments.admin.conftest import Life, Staff, lived_payment
from tests.payments.own_database import own_database
from tests.payments.shop import open_shop
from tests.processes import RunningProcess

ROLES = ("", "Compliance", "Finance", "Operations", "Live keys")
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)

# Which lists each role may open. Whatever is registered later has to be put here by a person.
LIFE = {
    "payments.Payment",
    "payments.PaymentMethod",
    "payments.Refund",
    "payments.Dispute",
    "payments.ReviewCase",
    "payments.GivenUpRequest",
}
MONEY = LIFE | {"ledger.Account", "ledger.JournalEntry"}
MERCHANTS = {
    "payments.Merchant",
    "payments.ApiKey",
    "payments.ProviderAccount",
    "payments.ProviderEndpoint",
}
WEBHOOKS = {
    "webhooks.DeadLetter",
    "webhooks.DeadLetterRun",
    "webhooks.DomainEvent",
    "webhooks.EventDelivery",
    "webhooks.InboxEvent",
    "webhooks.MerchantDelivery",
    "webhooks.WebhookEndpoint",
}
NOTIFICATIONS = {"payments.Notification", "payments.NotificationRule"}
OVERSIGHT = {"audit.AuditEvent", "auth.User", "auth.Group"}
MAY_SEE = {
    "": set[str](),
    "Live keys": set[str](),
    "Finance": MONEY | {"payments.Merchant"},
    "Operations": LIFE | MERCHANTS | WEBHOOKS | NOTIFICATIONS,
    "Compliance": MONEY | MERCHANTS | WEBHOOKS | NOTIFICATIONS | OVERSIGHT,
}
# The only pages on which anybody but a superuser may add something.
MAY_ADD = {
    "Operations": {
        "payments.Merchant",
        "payments.NotificationRule",
        "payments.ProviderAccount",
    },
}


@pytest.fixture(scope="module", autouse=True)
def database(databases: TestDatabases, sandbox_psp: RunningProcess) -> Iterator[None]:
    """What other tests left would only make the lists long."""
    with own_database(databases):
        yield


@pytest.fixture(scope="module")
def lived(database: None, receiver_port: int) -> Iterator[Life]:
    with lived_payment(open_shop(), receiver_port) as life:
        yield life


def _page(model: type[Model], page: str, *arguments: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def _status(person: Staff, url: str) -> int:
    return person.client.get(url).status_code


def test_every_registered_model_is_in_the_matrix() -> None:
    known = MONEY | MERCHANTS | WEBHOOKS | NOTIFICATIONS | OVERSIGHT
    assert {model._meta.label for model in MODELS} == known


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_role_opens_the_lists_it_may_see_and_no_other(
    lived: Life, staff: Callable[[str], Staff], role: str, model: type[Model]
) -> None:
    allowed = model._meta.label in MAY_SEE[role]
    assert _status(staff(role), _page(model, "changelist")) == (200 if allowed else 403)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_role_adds_and_deletes_nothing_but_what_it_may(
    lived: Life, staff: Callable[[str], Staff], role: str, model: type[Model]
) -> None:
    may_add = model._meta.label in MAY_ADD.get(role, ())
    assert _status(staff(role), _page(model, "add")) == (200 if may_add else 403)
    row = model._default_manager.first()
    if row is not None:
        assert _status(staff(role), _page(model, "delete", row.pk)) == 403


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_page_opens_for_a_superuser_and_none_deletes(
    lived: Life, staff: Callable[[str], Staff], model: type[Model]
) -> None:
    person = staff("superuser")
    assert _status(person, _page(model, "changelist")) == 200
    assert _status(person, _page(model, "changelist") + "?q=nothing") == 200
    row = model._default_manager.first()
    if row is not None:
        assert _status(person, _page(model, "change", row.pk)) == 200
        assert _status(person, _page(model, "delete", row.pk)) == 403
        answer = person.client.post(
            _page(model, "changelist"),
            {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"},
        )
        assert model._default_manager.filter(pk=row.pk).exists(), answer.status_code


@pytest.mark.parametrize("role", ["Compliance", "Finance", "Operations", "superuser"])
def test_a_payment_cannot_be_changed_by_posting_its_page(
    lived: Life, staff: Callable[[str], Staff], role: str
) -> None:
    before = Payment.objects.values().get(pk=lived.payment.pk)
    url = _page(Payment, "change", lived.payment.pk)
    answer = staff(role).client.post(url, {"amount_minor": "1", "state": "failed", "_save": "1"})
    assert answer.status_code == 403
    assert Payment.objects.values().get(pk=lived.payment.pk) == before


@pytest.mark.parametrize("role", ["", "Compliance", "Finance", "Live keys"])
def test_only_operations_reaches_the_verbs(
    lived: Life, staff: Callable[[str], Staff], role: str
) -> None:
    merchant, account = lived.shop.merchant.pk, lived.shop.account.pk
    key = lived.shop.merchant.api_keys.all()[0].pk
    verbs = [
        _page(Merchant, "change", merchant).replace("change/", "issue-key/"),
        _page(Merchant, "change", merchant).replace("change/", "change-status/"),
        reverse("admin:payments_apikey_revoke", args=[key]),
        reverse("admin:payments_provideraccount_replace_key", args=[account]),
        reverse("admin:payments_provideraccount_add_for", args=[merchant]),
    ]
    for url in verbs:
        assert _status(staff(role), url) == 403, url
        assert staff(role).client.post(url, {"ticket": "x"}).status_code == 403, url
        assert _status(staff("Operations"), url) == 200, url


def test_who_is_not_signed_in_is_sent_to_the_login(lived: Life) -> None:
    from django.test import Client

    for url in (
        reverse("admin:index"),
        reverse("admin:payments_payment_find"),
        reverse("admin:payments_payment_story", args=[lived.payment.pk]),
    ):
        answer = Client().get(url)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")


def test_the_sidebar_shows_a_role_only_the_doors_that_open(
    lived: Life, staff: Callable[[str], Staff]
) -> None:
    for role in ("Compliance", "Finance", "Operations"):
        page = staff(role).client.get(reverse("admin:index")).content.decode()
        sidebar = page.partition('id="nav-sidebar-apps"')[2].partition('id="main"')[0]
        for model in MODELS:
            shown = f'href="{_page(model, "changelist")}"' in sidebar
            assert shown == (model._meta.label in MAY_SEE[role]), (role, model._meta.label)


def test_a_person_without_a_group_is_told_what_to_do(staff: Callable[[str], Staff]) -> None:
    page = staff("").client.get(reverse("admin:index")).content.decode()
    assert "belongs to no group yet" in page


def test_no_group_may_change_a_row_of_money_or_evidence() -> None:
    rows = {"payment", "refund", "dispute", "reviewcase", "capture", "attempt", "transition"}
    for name, permissions in GROUPS.items():
        for code in permissions:
            app, _, codename = code.partition(".")
            verb, _, model = codename.partition("_")
            if app in ("ledger", "audit", "auth") or model in rows:
                assert verb not in ("add", "change", "delete"), (name, code)


def test_only_finance_and_operations_hold_the_verbs_that_move_money() -> None:
    verbs = {
        f"payments.{codename}"
        for codename in Permission.objects.filter(content_type__app_label="payments")
        .exclude(codename__regex="^(add|change|delete|view|issue)_")
        .values_list("codename", flat=True)
    }
    assert len(verbs) == 7
    for name, permissions in GROUPS.items():
        held = verbs & permissions
        assert held == (verbs if name in ("Finance", "Operations") else set()), name


def test_making_the_groups_again_changes_nothing_and_takes_back_what_was_given() -> None:
    group = Group.objects.get(name="Finance")
    actor, now = Actor(type="system", id="test"), datetime.now(UTC)
    first = ensure_staff_groups(actor=actor, now=now)
    before = len(audit_timeline.timeline(stream_type="group", stream_id="Finance"))
    assert ensure_staff_groups(actor=actor, now=now) == first
    assert len(audit_timeline.timeline(stream_type="group", stream_id="Finance")) == before
    group.permissions.add(Permission.objects.get(codename="add_merchant"))
    assert ensure_staff_groups(actor=actor, now=now) == first
    assert group.permissions.count() == first["Finance"]
    latest = audit_timeline.timeline(stream_type="group", stream_id="Finance")[0]
    assert latest.body == {"given": [], "taken": ["payments.add_merchant"]}


@pytest.mark.parametrize("role", [*ROLES, "superuser"])
def test_the_queues_are_for_those_who_may_see_domain_events(
    staff: Callable[[str], Staff], role: str
) -> None:
    allowed = role in ("Operations", "Compliance", "superuser")
    url = reverse("admin:payments_queues")
    assert _status(staff(role), url) == (200 if allowed else 403)
    if role in ("Finance", "Operations"):
        sidebar = staff(role).client.get(reverse("admin:index")).content.decode()
        assert (url in sidebar) == allowed
