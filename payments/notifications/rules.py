"""Who gets what: the verbs that change the rules, each audited under the person's name.

Mental model: a rule is never deleted, because the messages it caused name it; it is switched off.
The address of a Slack webhook goes in and never comes out: it is stored encrypted, and the place it
is shown by says the host and the last four characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from audit import log
from payments.errors import ErrorCode, FlorinError
from payments.models import NotificationChannel, NotificationRule
from payments.notifications.kinds import KINDS
from webhooks import destinations

ADDRESSES_MAX = 20
# Slack asks for https, and so does every rule that a live endpoint of a merchant has to keep.
_JUDGED_AS_LIVE = True


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a person wants a rule to be. An empty `webhook_url` keeps the one that is stored."""

    name: str
    kinds: Sequence[str]
    mode: str = "both"
    addresses: Sequence[str] = ()
    webhook_url: str = ""


def create_rule(
    *, channel: str, wanted: Wanted, actor: log.Actor, now: datetime
) -> NotificationRule:
    """Tell somebody from now on.

    Raises FlorinError(parameter_invalid) with the field: an unknown kind, no address, an address
    that is none, a webhook that may not receive requests (webhooks.destinations).
    """
    if channel not in NotificationChannel.values:
        raise _refused("channel", "The channel is email or slack.")
    shown = _judged(wanted.webhook_url) if channel == NotificationChannel.SLACK else ""
    with log.acting_as(actor), transaction.atomic(durable=True):
        rule = NotificationRule(channel=channel, created_at=now)
        _apply(rule, wanted, shown=shown)
        rule.save(force_insert=True)
        _audit(rule, "created", _told(rule), now=now)
    return rule


def change_rule(
    *, rule: NotificationRule, wanted: Wanted, actor: log.Actor, now: datetime
) -> NotificationRule:
    """Change what a rule asks for or where it leads. Raises as create_rule does."""
    replaced = rule.channel == NotificationChannel.SLACK and bool(wanted.webhook_url)
    shown = _judged(wanted.webhook_url) if replaced else ""
    with log.acting_as(actor), transaction.atomic(durable=True):
        locked = NotificationRule.objects.select_for_update().get(pk=rule.pk)
        _apply(locked, wanted, shown=shown)
        locked.save()
        body = {**_told(locked), "webhook_url_replaced": replaced}
        _audit(locked, "changed", body, now=now)
    return locked


def set_rule_active(
    *, rule: NotificationRule, active: bool, actor: log.Actor, now: datetime
) -> NotificationRule:
    """Switch a rule on or off; what was written for it before is still sent."""
    with log.acting_as(actor), transaction.atomic(durable=True):
        locked = NotificationRule.objects.select_for_update().get(pk=rule.pk)
        if locked.active != active:
            locked.active = active
            locked.save(update_fields=["active"])
            _audit(locked, "activated" if active else "deactivated", {}, now=now)
    return locked


def recipients_of(rule: NotificationRule) -> list[str]:
    """Whom the rule reaches, as `Notification.recipient` names them."""
    return list(rule.addresses) if rule.channel == NotificationChannel.EMAIL else [rule.pk]


def _apply(rule: NotificationRule, wanted: Wanted, *, shown: str) -> None:
    unknown = sorted(set(wanted.kinds) - KINDS.keys())
    if unknown or not wanted.kinds:
        raise _refused("kinds", f"Choose from {', '.join(KINDS)}.")
    if wanted.mode not in NotificationRule.Mode.values:
        raise _refused("mode", "The mode is both, live or test.")
    rule.name, rule.mode = wanted.name.strip()[:100], wanted.mode
    if not rule.name:
        raise _refused("name", "Say what this rule is for.")
    rule.kinds = [kind for kind in KINDS if kind in wanted.kinds]
    if rule.channel == NotificationChannel.EMAIL:
        rule.addresses = _addresses(wanted.addresses)
        rule.shown_destination = ", ".join(rule.addresses)[:500]
    elif shown:
        rule.shown_destination = shown
        rule.set_webhook_url(wanted.webhook_url)


def _addresses(addresses: Sequence[str]) -> list[str]:
    found = list(dict.fromkeys(address.strip().lower() for address in addresses if address.strip()))
    if not 0 < len(found) <= ADDRESSES_MAX:
        raise _refused("addresses", f"Give 1 to {ADDRESSES_MAX} addresses, one on each line.")
    for address in found:
        try:
            validate_email(address)
        except ValidationError:
            raise _refused("addresses", f"{address!r} is no e-mail address.") from None
        if not address.isascii():
            raise _refused("addresses", f"Write {address!r} in ASCII (punycode).")
    return found


def _judged(url: str) -> str:
    """How an accepted address is shown: never enough of it to use it. Resolves the name, so it is
    called outside the transaction.
    """
    try:
        destination = destinations.parse(url, livemode=_JUDGED_AS_LIVE)
        destinations.pin(destination)
    except destinations.DestinationRefused as refusal:
        raise _refused("webhook_url", str(refusal)) from refusal
    return f"{destination.host}/…{url[-4:]}"


def _refused(param: str, message: str) -> FlorinError:
    return FlorinError(ErrorCode.parameter_invalid, message, param=param)


def _told(rule: NotificationRule) -> dict[str, object]:
    return {
        "name": rule.name,
        "channel": str(rule.channel),
        "destination": rule.shown_destination,
        "kinds": list(rule.kinds),
        "mode": str(rule.mode),
    }


def _audit(rule: NotificationRule, what: str, body: dict[str, object], *, now: datetime) -> None:
    log.append(
        event_type=f"notification_rule.{what}",
        stream_type="notification_rule",
        stream_id=rule.pk,
        body=body,
        occurred_at=now,
    )
