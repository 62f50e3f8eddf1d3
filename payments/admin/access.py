"""Who may see and do what in the back office: four groups, said in one place.

Mental model: a group is a name and the permissions it holds, nothing is granted to people one by
one. Pages about money have no other permission than to be looked at. What changes something
(merchants, keys, endpoints, dead letters) belongs to operations; taking live keys out is a
permission of its own. `manage.py create_staff_groups` makes the groups be what stands here.
"""

from __future__ import annotations

from datetime import datetime

from django.contrib.auth.models import Group, Permission
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest

from audit import log

# Live keys and live provider accounts decide where real money goes: more than everyday work.
LIVE_PERMISSION = "payments.issue_live_apikey"

# Every table whose rows may be looked at, by app. "*" is all of an app's.
_PAYMENTS = (
    "payment",
    "attempt",
    "provideroperation",
    "transition",
    "capture",
    "refund",
    "dispute",
    "evidencefile",
    "reviewcase",
    "paymentmethod",
    "givenuprequest",
)
_MERCHANTS = (
    "merchant",
    "apikey",
    "provideraccount",
    "providerendpoint",
    "historicalmerchant",
    "historicalapikey",
    "historicalprovideraccount",
    "historicalproviderendpoint",
)
_NOTIFICATIONS = ("notification", "notificationrule", "historicalnotificationrule")


def _views(app: str, models: tuple[str, ...]) -> set[str]:
    return {f"{app}.view_{model}" for model in models}


# The verbs that move money or decide about it, each a permission of its own (payments.models).
_MONEY_VERBS = {
    "payments.refund_payment",
    "payments.capture_payment",
    "payments.cancel_payment",
    "payments.poll_payment",
    "payments.answer_dispute",
    "payments.accept_dispute",
    "payments.resolve_review",
}

GROUPS: dict[str, set[str]] = {
    # Sees everything, the audit trail included, and changes nothing.
    "Compliance": {
        *_views("payments", (*_PAYMENTS, *_MERCHANTS, *_NOTIFICATIONS)),
        "ledger.view_*",
        "webhooks.view_*",
        "audit.view_*",
        "auth.view_user",
        "auth.view_group",
    },
    # Answers for the money: sees it, gives it back, answers disputes, decides cases.
    "Finance": {
        *_views("payments", (*_PAYMENTS, "merchant")),
        *_MONEY_VERBS,
        "ledger.view_*",
    },
    # Keeps it running: onboards merchants, issues test keys, replays what died, mends
    # merchants' endpoints, and does with payments what Finance does.
    "Operations": {
        *_views("payments", (*_PAYMENTS, *_MERCHANTS, *_NOTIFICATIONS)),
        *_MONEY_VERBS,
        "payments.add_merchant",
        "payments.change_merchant",
        "payments.add_apikey",
        "payments.change_apikey",
        "payments.add_provideraccount",
        "payments.change_provideraccount",
        "payments.add_notificationrule",
        "payments.change_notificationrule",
        "payments.change_notification",
        "payments.change_givenuprequest",
        "webhooks.view_*",
        "webhooks.change_deadletter",
        "webhooks.change_merchantdelivery",
        "webhooks.add_webhookendpoint",
        "webhooks.change_webhookendpoint",
        "webhooks.delete_webhookendpoint",
        "webhooks.rotate_webhookendpoint_secret",
    },
    # In addition to Operations, for the few who may take live keys and secrets out.
    "Live keys": {"payments.issue_live_apikey", "webhooks.see_live_webhookendpoint_secret"},
}


def ensure_staff_groups(*, actor: log.Actor, now: datetime) -> dict[str, int]:
    """Make the groups hold exactly the permissions above; returns how many each holds.

    A group that changes thereby leaves an audit event. Raises LookupError when a permission is
    not there yet.
    """
    held: dict[str, int] = {}
    with transaction.atomic():
        for name, codes in GROUPS.items():
            group, _ = Group.objects.get_or_create(name=name)
            wanted = {_name(permission): permission for permission in _permissions(codes)}
            before = {
                _name(held_now) for held_now in group.permissions.select_related("content_type")
            }
            if before != set(wanted):
                group.permissions.set(wanted.values())
                log.append(
                    event_type="staff.group_changed",
                    stream_type="group",
                    stream_id=name,
                    body={
                        "given": sorted(set(wanted) - before),
                        "taken": sorted(before - set(wanted)),
                    },
                    actor=actor,
                    occurred_at=now,
                )
            held[name] = len(wanted)
    return held


def _name(permission: Permission) -> str:
    return f"{permission.content_type.app_label}.{permission.codename}"


def _permissions(codes: set[str]) -> list[Permission]:
    """The permissions that codes like "ledger.view_*" stand for. Raises LookupError when a code
    stands for none: a typing mistake must not take a right away silently.
    """
    found: dict[int, Permission] = {}
    for code in sorted(codes):
        app, _, codename = code.partition(".")
        wanted = Q(content_type__app_label=app)
        if codename.endswith("*"):
            wanted &= Q(codename__startswith=codename[:-1])
        else:
            wanted &= Q(codename=codename)
        matching = Permission.objects.select_related("content_type").filter(wanted)
        if not matching:
            raise LookupError(f"No permission is called {code}: are all migrations applied?")
        found.update((permission.pk, permission) for permission in matching)
    return list(found.values())


def staff_actor(request: HttpRequest) -> log.Actor:
    """The person at the keyboard, as the audit trail names them. Raises PermissionDenied."""
    user = request.user
    if not user.is_authenticated or not user.is_active:
        raise PermissionDenied("Log in first.")
    return log.Actor(type="user", id=str(user.pk), display=user.get_username())


def may(request: HttpRequest, *permissions: str) -> bool:
    """True when the person at the keyboard holds all of these permissions."""
    user = request.user
    return bool(user.is_active and user.is_staff and user.has_perms(permissions))


def require(request: HttpRequest, *permissions: str) -> None:
    """Raises PermissionDenied unless the person holds all of these permissions."""
    if not may(request, *permissions):
        raise PermissionDenied(f"This needs {', '.join(permissions)}.")
