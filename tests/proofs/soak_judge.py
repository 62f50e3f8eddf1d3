"""What a soak is judged by besides the provider's record of money: every event, where it ended.

Mental model: four streams, each of which is complete, without repetition and in order, or is a
violation. The provider's own list of events against our inbox; the events of each object of ours
and what their handlers did; what the merchant's server got; what staff got. The last two may see
one thing several times, always under one id and with one content.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.payments.notifications.servers import MailServer, text_of
from tests.proofs.stand import Stand
from tests.webhooks.receiver import Receiver

# A claim whose holder was killed is free again after its lease, the longest of which is a minute; a
# webhook that never came is found in the provider's list within minutes.
_PATIENCE_SECONDS = 420.0
_OPEN = """
    SELECT (SELECT count(*) FROM webhooks_merchant_delivery
            WHERE status IN ('pending', 'retrying'))
         + (SELECT count(*) FROM payments_notification WHERE status IN ('pending', 'retrying'))
         + (SELECT count(*) FROM webhooks_inbox_event
            WHERE status IN ('received', 'deferred', 'failed'))
         + (SELECT count(*) FROM webhooks_event_delivery WHERE status IN ('pending', 'failed'))
"""
_APPLIED = """
    SELECT k.event_id, e.status FROM webhooks_inbox_key k
      JOIN webhooks_inbox_event e ON e.id = k.inbox_id WHERE k.account_id = %s
"""
_GAPS = """
    SELECT aggregate_id || ': ' || count(*) || ' events up to ' || max(seq)
      FROM webhooks_domain_event GROUP BY aggregate_type, aggregate_id HAVING count(*) <> max(seq)
"""
# Deliveries are made by the handler, and their ids by the clock of this one machine; finished_at is
# no evidence, since it is the moment at which a whole round began.
_OUT_OF_ORDER = """
    SELECT aggregate_id || ' ' || seq FROM (
      SELECT e.aggregate_id, e.seq, d.id, lag(d.id) OVER (
               PARTITION BY d.endpoint_id, e.aggregate_type, e.aggregate_id ORDER BY e.seq
             ) AS before
        FROM webhooks_merchant_delivery d JOIN webhooks_domain_event e ON e.id = d.event_id
      ) AS ordered
     WHERE id < before
"""
_PATHS = """
    SELECT payment_id, string_agg(event || '>' || to_state, ' ' ORDER BY version)
      FROM payments_transition GROUP BY payment_id
"""
# Told one by one, told in a message about many, still to be told when the hour is over.
_TOLD = """
    SELECT (SELECT count(*) FILTER (WHERE title !~ '^[0-9,]+ more: ')
              + coalesce(sum(replace(substring(title FROM '^([0-9,]+) more: '), ',', '')::int), 0)
              FROM payments_notification WHERE kind = 'dispute_opened' AND channel = %(channel)s)
         + (SELECT coalesce(sum(w.untold), 0) FROM payments_notificationwindow w
              JOIN payments_notificationrule r ON r.id = w.rule_id
             WHERE w.kind = 'dispute_opened' AND r.channel = %(channel)s)
"""


@dataclass
class Counts:
    """How much there was of each."""

    provider_events: int = 0
    domain_events: int = 0
    handled: int = 0
    webhook_requests: int = 0
    disputes: int = 0
    notifications: int = 0

    @property
    def events(self) -> int:
        """Events from the provider and events of ours."""
        return self.provider_events + self.domain_events

    def words(self) -> str:
        """One line."""
        return (
            f"{self.events} events: {self.provider_events} of the provider, {self.domain_events} "
            f"of ours, handled {self.handled} times, {self.webhook_requests} requests to the "
            f"merchant; {self.disputes} disputes, {self.notifications} mails and Slack messages"
        )


def judge(
    stand: Stand,
    merchant: Receiver,
    mail: MailServer,
    slack: Receiver,
    *,
    violations: list[str],
) -> Counts:
    """Wait until nothing is open, count, and add what is wrong to `violations`."""
    counts = Counts()
    with psycopg.connect(stand.servers.servers.database_owner_url, autocommit=True) as owner:
        provided = [event["id"] for event in _all_events(stand)]
        counts.provider_events = len(provided)
        account = stand.shop["provider_account"]
        _wait_until_nothing_is_open(owner, len(provided), account, violations)
        applied = owner.execute(_APPLIED, [account]).fetchall()
        violations += _compared("provider events", provided, [event for event, _ in applied])
        violations += [
            f"provider event {event} is {status}"
            for event, status in applied
            if status not in ("processed", "superseded", "ignored")
        ]
        events = _column(owner, "SELECT id FROM webhooks_domain_event WHERE owner <> ''")
        counts.domain_events = len(events)
        violations += [f"a gap in {gap}" for gap in _column(owner, _GAPS)]
        violations += [f"out of order: {lane}" for lane in _column(owner, _OUT_OF_ORDER)]
        violations += _paths_of_few_payments(owner)
        done = _column(owner, "SELECT status FROM webhooks_event_delivery")
        counts.handled = len(done)
        violations += [f"{n} handler runs {s}" for s, n in Counter(done).items() if s != "done"]
        counts.webhook_requests = len(merchant.requests)
        told = [(one.headers["webhook-id"], one.body) for one in list(merchant.requests)]
        violations += _compared("webhooks", events, _ids_with_one_content(told, violations))
        _judge_staff(owner, mail, slack, counts, violations)
    return counts


def _judge_staff(
    owner: psycopg.Connection,
    mail: MailServer,
    slack: Receiver,
    counts: Counts,
    violations: list[str],
) -> None:
    for channel, arrived in {
        "email": [(one["Florin-Notification"], text_of(one).encode()) for one in list(mail.mails)],
        "slack": [(one.headers["florin-notification"], one.body) for one in list(slack.requests)],
    }.items():
        written = _column(owner, "SELECT id FROM payments_notification WHERE channel = %s", channel)
        counts.notifications += len(written)
        ids = _ids_with_one_content(arrived, violations)
        violations += _compared(f"notifications by {channel}", written, ids)
        disputes, told = (
            int(_column(owner, query, {"channel": channel})[0])
            for query in ("SELECT count(*)::text FROM payments_dispute", f"SELECT ({_TOLD})::text")
        )
        counts.disputes = disputes
        if told != disputes:
            violations.append(f"{channel} told of {told} of {disputes} disputes")


def _wait_until_nothing_is_open(
    owner: psycopg.Connection, provided: int, account: str, violations: list[str]
) -> None:
    """Nothing waits any more, and whatever the provider has in its list had its effect."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    count = f"SELECT ({_OPEN}) || ' ' || (SELECT count(*) FROM ({_APPLIED}) AS applied)"
    while True:
        open_rows, applied = map(int, _column(owner, count, account)[0].split())
        if open_rows == 0 and applied >= provided:
            return
        if time.monotonic() > deadline:
            violations.append(f"{open_rows} rows were left open")
            return
        time.sleep(0.2)


def _all_events(stand: Stand) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["seq"] if found else 0
        page = stand.sandbox("GET", f"/v1/events?after={after}&limit=1000")
        found += page["data"]
        if not page["has_more"]:
            return found


def _compared(what: str, expected: Iterable[str], found: Iterable[str]) -> list[str]:
    """What is missing and what nobody expected, of things that are there once."""
    wanted, there = Counter(expected), Counter(found)
    missing, more = wanted - there, there - wanted
    return [f"{what} lost: {n} of {one}" for one, n in missing.items()] + [
        f"{what} doubled or invented: {n} of {one}" for one, n in more.items()
    ]


def _ids_with_one_content(arrived: list[tuple[str, bytes]], violations: list[str]) -> list[str]:
    contents: Mapping[str, set[bytes]] = defaultdict(set)
    for one, content in arrived:
        contents[one].add(content)
    violations += [
        f"{one} came with different contents" for one, c in contents.items() if len(c) > 1
    ]
    return list(contents)


def _paths_of_few_payments(owner: psycopg.Connection) -> list[str]:
    """Payments of one kind all went the same way, whatever died meanwhile."""
    paths = Counter(path for _, path in owner.execute(_PATHS).fetchall())
    return [f"{n} payments went {path}" for path, n in paths.items()] if len(paths) > 2 else []


def _column(owner: psycopg.Connection, query: str, *parameters: Any) -> list[str]:
    given = parameters[0] if parameters and isinstance(parameters[0], dict) else parameters
    return [str(value) for (value,) in owner.execute(query, given or None).fetchall()]
