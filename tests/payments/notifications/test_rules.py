"""Rules are judged, audited and kept as history; where Slack is stays a secret."""

from __future__ import annotations

from datetime import datetime

import pytest

from audit.models import AuditEvent
from payments.errors import FlorinError
from payments.models import NotificationRule
from payments.notifications import rules
from payments.notifications.kinds import KINDS
from tests.payments.notifications.conftest import ACTOR, email_rule, slack_rule
from tests.webhooks.receiver import Receiver


@pytest.mark.parametrize(
    ("channel", "wanted", "param"),
    [
        ("pigeon", {"addresses": ["a@b.example"]}, "channel"),
        ("email", {"addresses": []}, "addresses"),
        ("email", {"addresses": ["nobody"]}, "addresses"),
        ("email", {"addresses": ["a@b.example\nBcc: eve@evil.example"]}, "addresses"),
        ("email", {"addresses": ["a@b.example"], "kinds": []}, "kinds"),
        ("email", {"addresses": ["a@b.example"], "kinds": ["gossip"]}, "kinds"),
        ("email", {"addresses": ["a@b.example"], "mode": "maybe"}, "mode"),
        ("email", {"addresses": ["a@b.example"], "name": " "}, "name"),
        ("slack", {}, "webhook_url"),
        ("slack", {"webhook_url": "http://hooks.slack.com/services/T/B/x"}, "webhook_url"),
        ("slack", {"webhook_url": "https://169.254.169.254/latest"}, "webhook_url"),
        ("slack", {"webhook_url": "https://[::ffff:10.0.0.1]/x"}, "webhook_url"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_with_its_field(
    now: datetime, channel: str, wanted: dict[str, object], param: str
) -> None:
    asked = {"name": "x", "kinds": ["dead_letter"], **wanted}
    before = NotificationRule.objects.count()
    with pytest.raises(FlorinError) as refusal:
        rules.create_rule(
            channel=channel,
            wanted=rules.Wanted(**asked),  # type: ignore[arg-type]
            actor=ACTOR,
            now=now,
        )
    assert refusal.value.param == param
    assert NotificationRule.objects.count() == before


def test_the_address_of_slack_is_stored_encrypted_and_shown_masked(
    now: datetime, slack_server: Receiver
) -> None:
    rule = NotificationRule.objects.get(pk=slack_rule(slack_server).pk)
    url = rule.reveal_webhook_url()
    assert rule.shown_destination == f"127.0.0.1/…{url[-4:]}"
    assert url.encode() not in bytes(rule.webhook_url_encrypted or b"")
    told = AuditEvent.objects.get(stream_id=rule.pk, event_type="notification_rule.created")
    assert url not in str(told.body)
    assert not hasattr(rule.history.first(), "webhook_url_encrypted")


def test_a_change_keeps_the_address_unless_another_is_given_and_leaves_history(
    now: datetime, slack_server: Receiver
) -> None:
    rule = slack_rule(slack_server)
    url = rule.reveal_webhook_url()
    rules.change_rule(
        rule=rule,
        wanted=rules.Wanted(name="#on-call", kinds=["dead_letter"], mode="live"),
        actor=ACTOR,
        now=now,
    )
    changed = NotificationRule.objects.get(pk=rule.pk)
    assert (changed.name, changed.kinds, changed.mode) == ("#on-call", ["dead_letter"], "live")
    assert changed.reveal_webhook_url() == url
    assert changed.history.count() == 2


def test_switching_off_is_audited_once(now: datetime) -> None:
    rule = email_rule(asked=list(KINDS)[:1])
    for _ in range(2):
        rules.set_rule_active(rule=rule, active=False, actor=ACTOR, now=now)
    told = AuditEvent.objects.filter(stream_id=rule.pk)
    assert told.filter(event_type="notification_rule.deactivated").count() == 1
