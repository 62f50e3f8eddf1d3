"""The sidebar: three shelves for three kinds of work, each entry only for those who may open it.

Mental model: compliance looks for one thing and reads its story, finance looks at money, operations
keeps things running. An entry's permission is the one its page asks for, so nobody is shown a door
that stays shut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from payments.admin.access import may

# The one page outside the back office: what merchants' engineers read.
_REFERENCE = "api-reference"

# title, icon, name of the page, permission its page asks for
_Item = tuple[str, str, str, str]

_SHELVES: tuple[tuple[str, tuple[_Item, ...]], ...] = (
    (
        "",
        (
            ("Overview", "space_dashboard", "index", ""),
            ("Find anything", "search", "payments_payment_find", "payments.view_payment"),
        ),
    ),
    (
        "Money",
        (
            ("Payments", "payments", "payments_payment_changelist", "payments.view_payment"),
            ("Refunds", "undo", "payments_refund_changelist", "payments.view_refund"),
            ("Disputes", "gavel", "payments_dispute_changelist", "payments.view_dispute"),
            ("Review cases", "rule", "payments_reviewcase_changelist", "payments.view_reviewcase"),
            (
                "Ledger accounts",
                "account_balance",
                "ledger_account_changelist",
                "ledger.view_account",
            ),
            (
                "Journal entries",
                "menu_book",
                "ledger_journalentry_changelist",
                "ledger.view_journalentry",
            ),
        ),
    ),
    (
        "Merchants",
        (
            ("Merchants", "storefront", "payments_merchant_changelist", "payments.view_merchant"),
            ("API keys", "key", "payments_apikey_changelist", "payments.view_apikey"),
            (
                "Saved payment methods",
                "credit_card",
                "payments_paymentmethod_changelist",
                "payments.view_paymentmethod",
            ),
            (
                "Provider accounts",
                "hub",
                "payments_provideraccount_changelist",
                "payments.view_provideraccount",
            ),
            (
                "Provider endpoints",
                "input",
                "payments_providerendpoint_changelist",
                "payments.view_providerendpoint",
            ),
            (
                "Webhook endpoints",
                "webhook",
                "webhooks_webhookendpoint_changelist",
                "webhooks.view_webhookendpoint",
            ),
            ("API reference", "api", _REFERENCE, ""),
        ),
    ),
    (
        "Operations",
        (
            (
                "Queues",
                "monitoring",
                "payments_queues",
                "webhooks.view_domainevent",
            ),
            (
                "Notifications",
                "notifications",
                "payments_notification_changelist",
                "payments.view_notification",
            ),
            (
                "Who gets what",
                "outgoing_mail",
                "payments_notificationrule_changelist",
                "payments.view_notificationrule",
            ),
            (
                "Dead letters",
                "report",
                "webhooks_deadletter_changelist",
                "webhooks.view_deadletter",
            ),
            (
                "Runs over dead letters",
                "playlist_play",
                "webhooks_deadletterrun_changelist",
                "webhooks.view_deadletterrun",
            ),
            (
                "Requests given up",
                "assignment_late",
                "payments_givenuprequest_changelist",
                "payments.view_givenuprequest",
            ),
            (
                "News from providers",
                "move_to_inbox",
                "webhooks_inboxevent_changelist",
                "webhooks.view_inboxevent",
            ),
            (
                "Domain events",
                "campaign",
                "webhooks_domainevent_changelist",
                "webhooks.view_domainevent",
            ),
            (
                "Handler deliveries",
                "conversion_path",
                "webhooks_eventdelivery_changelist",
                "webhooks.view_eventdelivery",
            ),
            (
                "Merchant deliveries",
                "send",
                "webhooks_merchantdelivery_changelist",
                "webhooks.view_merchantdelivery",
            ),
        ),
    ),
    (
        "Compliance",
        (
            (
                "Audit trail",
                "policy",
                "audit_auditevent_changelist",
                "audit.view_auditevent",
            ),
            ("Staff", "badge", "auth_user_changelist", "auth.view_user"),
            ("Groups", "groups", "auth_group_changelist", "auth.view_group"),
        ),
    ),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The shelves with their entries, for unfold."""
    shelves = []
    for title, items in _SHELVES:
        entries = [entry for item in items if (entry := _entry(item)) is not None]
        shelves.append({"title": title, "separator": bool(title), "items": entries})
    return shelves


def _entry(item: _Item) -> dict[str, Any] | None:
    title, icon, page, permission = item
    try:
        link = reverse(page if page == _REFERENCE else f"admin:{page}")
    except NoReverseMatch:
        return None
    entry: dict[str, Any] = {"title": title, "icon": icon, "link": link}
    if permission:
        entry["permission"] = _asks_for(permission)
    if page == "payments_payment_changelist":
        entry["active"] = lambda request: (
            request.path.startswith(link)
            and not request.path.startswith(reverse("admin:payments_payment_find"))
            and not request.path.startswith(reverse("admin:payments_queues"))
        )
    return entry


def _asks_for(permission: str) -> Callable[[HttpRequest], bool]:
    def allowed(request: HttpRequest) -> bool:
        return may(request, permission)

    return allowed
