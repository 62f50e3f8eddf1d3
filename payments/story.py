"""The story of one payment as tables a person can read in a terminal, and whether it is right.

Mental model: nothing here decides anything. `story_of` reads the rows that the payment left in
each app; `judge_settled_payment` compares them with each other, the way a careful person would.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from rich.table import Table

from audit.timeline import timeline
from ledger.balances import Entry, entries_for_source
from ledger.money import exponent
from payments.admin import wording, wording_edges, wording_parts
from payments.models import Payment
from webhooks.story import EventLine, events_of_aggregate, inbound_of

_LIMIT = 200
STRAIGHT_PATH = ["created", "processing", "captured", "settled"]


@dataclass
class Judgement:
    """Sentences that should be true, each with whether it is."""

    expectations: list[tuple[str, bool]] = field(default_factory=list)

    def expect(self, holds: bool, sentence: str) -> None:
        """Add a sentence."""
        self.expectations.append((sentence, holds))

    @property
    def holds(self) -> bool:
        """Whether all of them are true."""
        return all(holds for _, holds in self.expectations)


def story_of(payment_id: str) -> list[Table]:
    """The payment, its transitions, captures, refunds, disputes and cases, provider calls, webhooks
    in, events out and ledger lines.
    """
    payment = Payment.objects.select_related("merchant", "provider_account").get(pk=payment_id)
    events = events_of_aggregate("payment", payment_id, limit=_LIMIT)
    return [
        _payment_table(payment),
        _transition_table(payment),
        *_part_tables(payment),
        _provider_table(payment_id),
        _inbound_table(payment_id),
        _event_table(events),
        _ledger_table(entries_for_source("payment", payment_id)),
    ]


def judge_settled_payment(payment_id: str) -> Judgement:
    """What should be true of a payment that went straight from created to settled."""
    payment = Payment.objects.get(pk=payment_id)
    transitions = list(payment.transitions.order_by("version"))
    operations = list(payment.operations.all())
    entries = entries_for_source("payment", payment_id)
    inbound = inbound_of(payment_id, limit=_LIMIT)
    events = events_of_aggregate("payment", payment_id, limit=_LIMIT)
    deliveries = [delivery for event in events for delivery in event.deliveries]
    judgement = Judgement()
    judgement.expect(
        [transition.to_state for transition in transitions] == STRAIGHT_PATH,
        "the payment went " + " → ".join(STRAIGHT_PATH),
    )
    judgement.expect(
        bool(operations) and all(operation.finished_at for operation in operations),
        "every call to the provider has a known outcome",
    )
    judgement.expect(
        bool(inbound) and all(line.finished_at for line in inbound),
        "every webhook of the provider was verified, stored and applied",
    )
    judgement.expect(
        [event.seq for event in events] == list(range(1, len(events) + 1)) and len(events) >= 4,
        "its events are complete and in order",
    )
    judgement.expect(
        bool(deliveries) and any(delivery.status == "delivered" for delivery in deliveries),
        "its events were delivered to the merchant",
    )
    judgement.expect(
        {entry.kind for entry in entries}
        == {"payment.captured", "payment.provider_fee", "payment.settled"},
        "capture, provider fee and settlement are booked, each once",
    )
    judgement.expect(_sum(entries) == 0, "its journal entries sum to zero")
    return judgement


def amount(minor: int | None, currency: str) -> str:
    """Minor units with the currency's decimals, e.g. 42.00; empty for none."""
    if minor is None:
        return ""
    digits = exponent(currency)
    if digits == 0:
        return f"{minor:,}"
    whole, part = divmod(abs(minor), 10**digits)
    return f"{'-' if minor < 0 else ''}{whole:,}.{part:0{digits}d}"


def _clock(moment: datetime | None) -> str:
    return moment.strftime("%H:%M:%S.%f")[:-3] if moment else ""


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", expand=True)
    for column in columns:
        numeric = column in ("debit", "credit", "ms")
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    return table


def _payment_table(payment: Payment) -> Table:
    table = _table(f"Payment {payment.pk}", "merchant", "amount", "state", "fees", "provider")
    fees = (
        f"platform {amount(payment.platform_fee_minor, payment.currency)}, "
        f"provider {amount(payment.provider_fee_minor, payment.currency) or 'not known'}"
    )
    table.add_row(
        payment.merchant.name,
        f"{amount(payment.amount_minor, payment.currency)} {payment.currency}",
        payment.state,
        fees,
        str(payment.provider_account),
    )
    return table


def _transition_table(payment: Payment) -> Table:
    table = _table("Transitions", "time (UTC)", "from", "to", "why", "because of", "by")
    for row in payment.transitions.order_by("version"):
        made = not row.from_state
        table.add_row(
            _clock(row.occurred_at),
            row.from_state,
            row.to_state,
            "The payment was made" if made else wording.edge_meaning(row.event),
            wording.cause_words(row.cause_type, row.actor_type),
            f"{wording.ACTORS.get(row.actor_type, row.actor_type)} {row.actor_id}",
        )
    return table


def _part_tables(payment: Payment) -> list[Table]:
    """Captures, refunds, disputes and review cases, those kinds that the payment has."""
    tables = [
        _captures_table(payment),
        _refunds_table(payment),
        _disputes_table(payment),
        _cases_table(payment),
    ]
    return [table for table in tables if table.row_count]


def _captures_table(payment: Payment) -> Table:
    table = _table("Captures", "time (UTC)", "capture", "amount", "state")
    for row in payment.captures.order_by("number"):
        table.add_row(
            _clock(row.created_at),
            row.pk,
            f"{amount(row.amount_minor, payment.currency)} {payment.currency}",
            wording_parts.capture_words(row.state).label,
        )
    return table


def _refunds_table(payment: Payment) -> Table:
    table = _table("Refunds", "time (UTC)", "refund", "amount", "state", "asked for by", "why not")
    for row in payment.refunds.order_by("pk"):
        table.add_row(
            _clock(row.created_at),
            row.pk,
            f"{amount(row.amount_minor, row.currency)} {row.currency}",
            wording_parts.refund_words(row.state).label,
            wording_parts.REFUND_SOURCES.get(row.source, row.source),
            str((row.error or {}).get("message", "")),
        )
    return table


def _disputes_table(payment: Payment) -> Table:
    table = _table("Disputes", "time (UTC)", "dispute", "amount", "stage", "state", "lost", "fee")
    for row in payment.disputes.order_by("pk"):
        table.add_row(
            _clock(row.created_at),
            row.pk,
            f"{amount(row.amount_minor, row.currency)} {row.currency}",
            wording_parts.stage_words(row.stage),
            wording_parts.dispute_words(row.state).label,
            amount(row.lost_minor, row.currency),
            amount(row.fee_minor, row.currency),
        )
    return table


def _cases_table(payment: Payment) -> Table:
    table = _table("Review cases", "time (UTC)", "case", "what was met", "in detail", "settled by")
    for row in payment.cases.order_by("opened_at"):
        table.add_row(
            _clock(row.opened_at),
            row.pk,
            wording_parts.case_words(row.kind).label,
            row.words,
            wording_edges.EDGES.get(row.resolution) or row.resolution or "open",
        )
    return table


def _provider_table(payment_id: str) -> Table:
    """Intent and outcome of each call, from the audit trail."""
    table = _table("Calls to the provider", "time (UTC)", "what", "outcome", "HTTP", "ms")
    records = timeline(stream_type="payment", stream_id=payment_id, limit=_LIMIT)
    for record in reversed(records):
        body = record.body
        if record.event_type == "provider.request":
            table.add_row(_clock(record.occurred_at), f"{body['kind']}: asked", "", "", "")
        elif record.event_type == "provider.response":
            exchange = body["exchange"]
            table.add_row(
                _clock(record.occurred_at),
                f"{body['kind']}: answered",
                body["outcome"],
                str(exchange["http_status"] or exchange["failure"]),
                str(exchange["duration_ms"]),
            )
    return table


def _inbound_table(payment_id: str) -> Table:
    table = _table("Webhooks from the provider", "time (UTC)", "event", "type", "status", "reason")
    for line in inbound_of(payment_id, limit=_LIMIT):
        table.add_row(
            _clock(line.received_at), line.event_id, line.event_type, line.status, line.reason
        )
    return table


def _event_table(events: Iterable[EventLine]) -> Table:
    table = _table("Events and their deliveries", "seq", "event", "handlers", "to the merchant")
    for event in events:
        handlers = ", ".join(f"{line.handler} {line.status}" for line in event.handlers)
        deliveries = ", ".join(
            f"{delivery.status}"
            + "".join(f" (HTTP {attempt.response_status})" for attempt in delivery.attempts[-1:])
            for delivery in event.deliveries
        )
        table.add_row(str(event.seq), event.type, handlers, deliveries)
    return table


def _ledger_table(entries: Iterable[Entry]) -> Table:
    table = _table("Ledger", "entry", "account", "owner", "debit", "credit")
    debits: dict[str, int] = {}
    credits: dict[str, int] = {}
    for entry in entries:
        for line in entry.lines:
            currency = line.currency
            debits[currency] = debits.get(currency, 0) + line.debit_minor
            credits[currency] = credits.get(currency, 0) + line.credit_minor
            table.add_row(
                f"{entry.id} {entry.kind}" if line.line_number == 1 else "",
                line.account.code,
                line.account.owner,
                amount(line.debit_minor or None, currency),
                amount(line.credit_minor or None, currency),
            )
    for currency, debit in debits.items():
        difference = amount(debit - credits[currency], currency)
        table.add_section()
        table.add_row(
            f"sum {difference} {currency}",
            "",
            "",
            amount(debit, currency),
            amount(credits[currency], currency),
            style="bold",
        )
    return table


def _sum(entries: Iterable[Entry]) -> int:
    return sum(line.debit_minor - line.credit_minor for entry in entries for line in entry.lines)
