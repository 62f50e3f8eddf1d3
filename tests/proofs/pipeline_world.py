"""One shop, one payment, one merchant's server: a provider's news on its way through the pipeline.

Mental model: the test plays the provider, which sends each event again until it is answered 2xx, or
loses all webhooks and shows the events in its list only, or says nothing until it is asked about
the payment, or tells of a second object of it that we do not know. Staff are told of something by
mail and Slack. What the payment, the ledger, the streams of events, the deliveries, the merchant's
server, the mail server and the one in Slack's place end with is read as plain data, so that a run
with a fault can be compared with one without.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import override_settings
from standardwebhooks import Webhook as Signer

from payments.actions.resolve_review import close_case
from payments.models import Notification, ReviewCase
from payments.notifications.rules import set_rule_active
from tests.payments.notifications.conftest import ACTOR, email_rule, slack_rule, tell
from tests.payments.notifications.servers import MailServer, text_of
from tests.payments.shop import Shop, open_shop
from tests.proofs.pipeline_points import (
    LATE_HANDLER,
    Servers,
    Task,
    Webhook,
    ask,
    back_fill,
    carry_out_dead_letter_runs,
    poll,
    sweep,
)
from tests.webhooks import effects
from tests.webhooks.receiver import Receiver
from webhooks import dead_letter_runs, delivery, endpoints, inbox, outbox
from webhooks.dead_letter_filter import Filter
from webhooks.models import DomainEvent, EventDelivery, InboxEvent, InboxKey, MerchantDelivery

_SENDING_TRIES = 5
_ROUNDS = 40


@dataclass(frozen=True)
class Outside:
    """Everybody to whom Florin sends here: the merchant, a mail server, one in Slack's place."""

    merchant: Receiver
    mail: MailServer
    slack: Receiver
    ca_file: str

    def settings(self) -> dict[str, Any]:
        """How Florin is told of them."""
        return {
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": self.mail.port,
            "EMAIL_BACKEND": "payments.notifications.email.WatchedEmailBackend",
            "DEFAULT_FROM_EMAIL": "Florin <florin@pay.example>",
            "FLORIN_WEBHOOK_ALLOWED_HOSTS": [
                f"127.0.0.1:{port}" for port in (self.merchant.port, self.slack.port)
            ],
        }


@dataclass
class World:
    """What one case works on."""

    outside: Outside
    servers: Servers
    shop: Shop = field(default_factory=open_shop)
    payment_id: str = ""
    sent_twice: int = 0
    webhooks_are_lost: bool = False
    nothing_is_heard: bool = False
    handler_is_late: bool = False
    emitted: tuple[datetime, datetime] = field(init=False)

    def __post_init__(self) -> None:
        shop = self.shop
        self.emitted = (datetime.now(UTC), datetime.now(UTC))
        self._tell_staff()
        with shop.acting():
            self._endpoint, _ = endpoints.create(
                owner=shop.merchant.pk,
                livemode=False,
                url=f"http://127.0.0.1:{self.outside.merchant.port}/{shop.merchant.pk}",
                event_types=["*"],
                now=shop.now(),
            )
        shop.settings(bank_result_after_seconds=10, settle_after_seconds=50)
        self.payment_id = shop.created(payment_method="tok_bank").pk
        shop.advance_sandbox(120)

    def news(self) -> list[Webhook]:
        """The provider's events about the payment, in order, each as a signed request."""
        shop = self.shop
        reference = shop.provider_reference(self.payment_id)
        events = shop.sandbox("GET", f"/v1/events?after=0&payment={reference}")["data"]
        return [signed(event, path=self._path, secret=shop.webhook_secret) for event in events]

    @property
    def _path(self) -> str:
        return f"/webhooks/sandbox/{self.shop.endpoint.token}"

    def bring(self, webhook: Webhook, first_try: Callable[[], int] | None = None) -> None:
        """Send it as a provider does: again, until it is answered 2xx."""
        for number in range(_SENDING_TRIES):
            status = first_try() if first_try and number == 0 else webhook.send()
            if 200 <= status < 300:
                self.sent_twice += number > 0
                return
        raise AssertionError(f"the provider got {status} for the {_SENDING_TRIES}th time")

    def lose_webhooks(self) -> None:
        """Nothing was sent, and it is so long ago that a sweep asks why."""
        self.webhooks_are_lost = True
        self.shop.ahead_by(minutes=10)

    def hear_nothing(self) -> None:
        """No webhook is sent and no list is read; the payment is due to be asked about."""
        self.nothing_is_heard = True
        self.shop.ahead_by(minutes=10)

    def hear_of_a_second_object(self) -> None:
        """The provider tells of another object of the payment, with money, long enough ago that it
        is to be asked.
        """
        shop = self.shop
        order = {"amount_minor": 4200, "currency": "EUR", "token": "tok_visa", "confirm": True}
        made = shop.sandbox("POST", "/v1/payments", order | {"reference": self.payment_id})
        event = shop.sandbox("GET", f"/v1/events?payment={made['id']}")["data"][-1]
        self.bring(signed(event, path=self._path, secret=shop.webhook_secret))
        for _ in range(2):
            self.drain_inbox()
            shop.ahead_by(minutes=3)
        self.drain_inbox()

    @contextmanager
    def a_late_handler(self) -> Iterator[None]:
        """After all this a handler is added that wants to know of it."""
        self.drain_inbox()
        self.drain_handlers()
        self.handler_is_late = True
        self.emitted = (self.emitted[0], datetime.now(UTC))
        self.shop.ahead_by(minutes=10)
        added = {"FLORIN_EVENT_HANDLERS": [*settings.FLORIN_EVENT_HANDLERS, LATE_HANDLER]}
        self.servers = replace(self.servers, settings={**self.servers.settings, **added})
        with override_settings(**added):
            yield

    def task(self, webhook: Webhook) -> Task:
        """What a process of its own is told to do."""
        return Task(webhook, self.shop.account.pk, ahead=self.shop.ahead, emitted=self.emitted)

    def let_deliveries_die(self) -> None:
        """All to the merchant are dead letters, and a person has ordered to send them again."""
        shop = self.shop
        mine = MerchantDelivery.objects.filter(event__owner=shop.merchant.pk)
        mine.update(status="dead", due_at=None, reason="it was down", finished_at=shop.now())
        shop.ahead_by(minutes=1)
        dead_letter_runs.start(
            action="replay",
            wanted=Filter(kind="merchant", endpoint_id=self._endpoint.id),
            actor=ACTOR,
            now=shop.now(),
        )

    def drain_inbox(self) -> None:
        inbox.drain(apply=inbox.configured_apply(), now=self.shop.now())

    def drain_handlers(self) -> None:
        outbox.drain(now=self.shop.now())

    def deliver(self) -> None:
        delivery.deliver(clock=self.shop.now, stopping=lambda: False)

    def finish(self) -> None:
        """What sweepers and people do in the next minutes, until nothing is open."""
        for _ in range(_ROUNDS):
            if self.webhooks_are_lost:
                sweep(self.shop.account.pk, clock=self.shop.now)
            if self.nothing_is_heard:
                poll(self.shop.account.pk, clock=self.shop.now)
            if self.handler_is_late:
                back_fill(*self.emitted, clock=self.shop.now)
            ask(self.shop.account.pk, clock=self.shop.now)
            self._decide_cases()
            self.drain_inbox()
            self.drain_handlers()
            carry_out_dead_letter_runs(now=self.shop.now())
            self.deliver()
            self.servers.send_notifications(clock=self.shop.now)
            if not self._open():
                return
            self.shop.ahead_by(minutes=2)
        raise AssertionError(f"{self._open()} rows are still open")

    def _decide_cases(self) -> None:
        """What a person does about a second object that has money."""
        with self.shop.acting():
            for case in ReviewCase.objects.filter(payment=self.payment_id, resolved_at=None):
                words = "The provider gave the second amount back."
                close_case(case.pk, words=words, clock=self.shop.now)

    def _open(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT (SELECT count(*) FROM webhooks_inbox_event"
                "        WHERE status IN ('received', 'deferred', 'failed'))"
                " + (SELECT count(*) FROM webhooks_event_delivery"
                "    WHERE status IN ('pending', 'failed'))"
                " + (SELECT count(*) FROM webhooks_merchant_delivery"
                "    WHERE status IN ('pending', 'retrying'))"
                " + (SELECT count(*) FROM payments_notification"
                "    WHERE status IN ('pending', 'retrying'))"
                " + (SELECT count(*) FROM webhooks_dead_letter_run WHERE status = 'running')"
                " + (SELECT count(*) FROM payments_eventsweep"
                "    WHERE provider_account_id = %s AND last_swept_at IS NULL)"
                " + (SELECT count(*) FROM payments_payment WHERE id = %s AND state <> 'settled')",
                [self.shop.account.pk, self.payment_id],
            )
            return int(cursor.fetchone()[0])

    def end(self) -> dict[str, Any]:
        """Everything that must not depend on what happened on the way."""
        shop = self.shop
        payment = shop.payment(self.payment_id)
        events = DomainEvent.objects.filter(owner=shop.merchant.pk)
        ordered = events.order_by("aggregate_type", "aggregate_id", "seq")
        keyed = InboxKey.objects.filter(account_id=shop.account.pk).values_list("inbox_id")
        applied = InboxEvent.objects.filter(pk__in=keyed).order_by("arrival")
        to_merchant = MerchantDelivery.objects.filter(event__owner=shop.merchant.pk)
        codes = ("psp:clearing", "merchant:pending", "merchant:available")
        return {
            "payment": (payment.state, payment.amount_captured_minor),
            "edges": shop.edges(payment.pk),
            "balances": {code: shop.balance(code) for code in codes},
            "moved": [(one["kind"], one["amount_minor"]) for one in shop.movements(payment.pk)],
            "events": list(ordered.values_list("aggregate_type", "seq", "type")),
            "applied": list(applied.values_list("event_type", "status")),
            "handled": Counter(
                EventDelivery.objects.filter(event__in=events).values_list("status", flat=True)
            ),
            "delivered": Counter(to_merchant.values_list("status", flat=True)),
            "received": sorted(self._received()),
            "told": sorted(self._told()),
            "cases": sorted(payment.cases.values_list("kind", "resolution")),
            "kept": effects.of("blocking", payment.pk),
        }

    def _tell_staff(self) -> None:
        """Write a notification by mail and one for Slack, for two rules that get nothing else."""
        asked, now = ["queue_late"], datetime.now(UTC)
        self._rules = [email_rule(asked=asked), slack_rule(self.outside.slack, asked=asked)]
        assert tell(self.shop.merchant.pk, now, kind="queue_late") == len(self._rules)
        for rule in self._rules:
            set_rule_active(rule=rule, active=False, actor=ACTOR, now=now)

    def _told(self) -> list[tuple[str, str]]:
        """Channel and status of each notification. Each arrived, under its own id, the same."""
        subject = self.shop.merchant.pk
        arrived = defaultdict[str, set[str | bytes]](set)
        for mail in list(self.outside.mail.mails):
            if subject in text_of(mail):
                arrived[mail["Message-ID"]].add(text_of(mail))
        for request in list(self.outside.slack.requests):
            if subject.encode() in request.body:
                arrived[request.headers["florin-notification"]].add(request.body)
        rows = list(Notification.objects.filter(rule__in=self._rules))
        ids = [f"<{row.pk}@pay.example>" if row.channel == "email" else str(row.pk) for row in rows]
        assert sorted(arrived) == sorted(ids), "a notification is missing or has two ids"
        assert [len(bodies) for bodies in arrived.values()] == [1] * len(rows)
        return [(row.channel, row.status) for row in rows]

    def _received(self) -> list[str]:
        """The types of what the merchant got, each webhook-id counted once. Each stands for one
        event of ours and for one body.
        """
        path, bodies = f"/{self.shop.merchant.pk}", defaultdict[str, set[bytes]](set)
        for request in self.outside.merchant.requests:
            if request.path == path:
                bodies[request.headers["webhook-id"]].add(request.body)
        ours = set(DomainEvent.objects.filter(owner=self.shop.merchant.pk).values_list("pk"))
        assert {(received,) for received in bodies} == ours, "an event is missing or was invented"
        changed = [webhook_id for webhook_id, different in bodies.items() if len(different) > 1]
        assert changed == [], "an event came with different bodies"
        return [json.loads(body)["type"] for (body,) in bodies.values()]


def signed(event: dict[str, Any], *, path: str, secret: str) -> Webhook:
    document = {name: value for name, value in event.items() if name != "seq"}
    raw = json.dumps(document, separators=(",", ":"))
    sent_at = datetime.now(UTC)
    headers = {
        "webhook-id": event["id"],
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": Signer(secret).sign(event["id"], sent_at, raw),
    }
    return Webhook(path=path, body=raw.encode(), headers=headers)
