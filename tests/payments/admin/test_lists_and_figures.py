"""The list stays cheap and exact, and the overview's numbers are those of the rows."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from payments.admin import charts, figures, open_work, waterfall
from payments.admin.presentation import age_text, money_text
from payments.api import measured_payments
from payments.models import Payment
from tests.payments.admin.conftest import Life, Staff, make_staff
from tests.payments.admin.test_disputes_and_cases import disputed, held
from tests.payments.shop import Shop, open_shop
from webhooks import story as webhook_story

LIST = "admin:payments_payment_changelist"


def listed(person: Staff, **query: str) -> list[str]:
    """The payments on the list, in order."""
    page = person.client.get(reverse(LIST), query)
    assert page.status_code == 200
    found = re.findall(r"/admin/payments/payment/(pay_\w+)/story/", page.content.decode())
    return list(dict.fromkeys(found))


def test_the_list_is_filtered_and_searched(life: Life, staff: Callable[[str], Staff]) -> None:
    person, shop = staff("Finance"), life.shop
    refused = shop.create(payment_method="tok_insufficient_funds")
    yen = shop.created(currency="JPY", amount_minor=8000).pk
    of_shop = {"merchant": shop.merchant.pk}
    everything = listed(person, **of_shop)
    assert everything == sorted(everything, reverse=True)
    assert len(everything) == 3
    assert listed(person, **of_shop, currency="JPY") == [yen]
    assert listed(person, **of_shop, state="settled") == [life.payment.pk]
    assert listed(person, **of_shop, mode="live") == []
    assert refused.payment_id in listed(person, **of_shop, state="created", created="1")
    for term in (life.payment.pk, life.payment.pk[:20], life.reference, life.provider_reference):
        assert life.payment.pk in listed(person, q=term), term
    assert listed(person, q="nothing-at-all") == []


def test_the_list_shows_amounts_as_the_currency_writes_them(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    shop.create(currency="JPY", amount_minor=8000)
    shop.create(currency="KWD", amount_minor=1234567)
    page = staff("Finance").client.get(reverse(LIST), {"merchant": shop.merchant.pk})
    text = page.content.decode().replace("\u00a0", " ")
    assert "8,000 JPY" in text
    assert "1,234.567 KWD" in text


def test_the_list_takes_the_same_few_queries_for_one_row_and_for_many(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    person = staff("Finance")

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            listed(person, merchant=shop.merchant.pk)
        assert not any("COUNT(" in query["sql"] for query in captured)
        return len(captured)

    shop.create()
    listed(person)
    few = queries()
    for _ in range(5):
        shop.create()
    assert queries() == few <= 14


@pytest.mark.parametrize("term", ["reference-4711", "pi_4711", "ch_4711", "pay_01h455vb4p"])
def test_no_search_reads_a_whole_table(term: str) -> None:
    """Every statement of a search is one the planner answers along an index."""
    from payments.admin import search

    with CaptureQueriesContext(connection) as captured:
        search.find(term)
    assert captured.captured_queries
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        try:
            for query in captured:
                cursor.execute("EXPLAIN " + query["sql"])
                plan = "\n".join(row[0] for row in cursor.fetchall())
                assert "Seq Scan" not in plan, f"{query['sql']}\n{plan}"
        finally:
            cursor.execute("SET enable_seqscan = on")


def test_a_payments_page_takes_few_queries(life: Life, staff: Callable[[str], Staff]) -> None:
    person = staff("Compliance")
    url = reverse("admin:payments_payment_change", args=[life.payment.pk])
    person.client.get(url)
    with CaptureQueriesContext(connection) as captured:
        assert person.client.get(url).status_code == 200
    assert len(captured) <= 28, "\n".join(query["sql"][:140] for query in captured)


def test_a_payments_page_is_audited_as_looked_at(life: Life, staff: Callable[[str], Staff]) -> None:
    from audit import timeline as audit_timeline

    person = staff("Finance")
    person.client.get(reverse("admin:payments_payment_change", args=[life.payment.pk]))
    records = audit_timeline.timeline(stream_type="payment", stream_id=life.payment.pk)
    views = [r for r in records if r.event_type == "record.viewed"]
    assert [(view.actor_id, view.body) for view in views] == [
        (str(person.user.pk), {"what": "payment page"})
    ]


def test_the_figures_are_those_of_the_rows(shop: Shop) -> None:
    def tally(interval: str) -> figures.Tally:
        now = datetime.now(UTC) + timedelta(seconds=1)
        return figures.tally(livemode=False, interval=figures.INTERVALS[interval], now=now)

    def omani() -> figures.CurrencyTotals:
        nothing = figures.CurrencyTotals(
            currency="OMR", made=0, succeeded=0, refused=0, captured_minor=0
        )
        return next((row for row in tally("hours").totals() if row.currency == "OMR"), nothing)

    before = omani()
    shop.create(currency="OMR", amount_minor=5000)
    shop.create(currency="OMR", amount_minor=7000, capture_method="manual")
    shop.create(currency="OMR", amount_minor=9000, payment_method="tok_insufficient_funds")
    shop.create(currency="OMR", amount_minor=1000, confirm=False, payment_method="")
    after = omani()
    assert after.made - before.made == 4
    assert after.succeeded - before.succeeded == 2
    assert after.refused - before.refused == 1
    assert after.captured_minor - before.captured_minor == 5000
    cut = tally("hours").stretches("OMR")
    assert len(cut) == 24
    assert sum(stretch.made for stretch in cut) == after.made
    assert sum(stretch.captured_minor for stretch in cut) == after.captured_minor
    days = tally("days").stretches("OMR")
    assert (len(days), sum(stretch.made for stretch in days)) == (14, after.made)
    assert sum(tally("hours").states().values()) >= after.made


def test_the_balances_are_those_of_the_books(life: Life) -> None:
    row = next(row for row in figures.books(livemode=False) if row.currency == "EUR")
    assert row.clearing_minor > 0
    assert row.available_minor >= 121584


def test_an_unknown_outcome_is_on_the_overview_with_its_payment(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    shop.settings(drop_after_commit=1)
    payment = shop.created()
    assert payment.outcome == "unknown"
    assert payment.pk in figures.unknown_payment_ids(limit=50)
    assert figures.unknown_outcomes().count >= 1
    page = staff("Operations").client.get(reverse("admin:index"), {"mode": "test"})
    assert "without an answer" in page.content.decode()
    assert payment.pk in page.content.decode()
    shop.resume(payment.pk)
    assert payment.pk not in figures.unknown_payment_ids(limit=50)


def test_the_overview_takes_a_bounded_number_of_queries(
    life: Life, staff: Callable[[str], Staff]
) -> None:
    person = staff("superuser")
    person.client.get(reverse("admin:index"))
    with CaptureQueriesContext(connection) as captured:
        assert person.client.get(reverse("admin:index"), {"mode": "test"}).status_code == 200
    assert len(captured) <= 30, "\n".join(query["sql"][:140] for query in captured)


@pytest.mark.parametrize(
    "query",
    [
        {"mode": "sideways"},
        {"window": "years"},
        {"currency": "<script>"},
        {"mode": "live", "window": "days", "currency": "EUR"},
    ],
)
def test_the_overview_takes_any_address(
    staff: Callable[[str], Staff], query: dict[str, str]
) -> None:
    page = staff("superuser").client.get(reverse("admin:index"), query)
    assert page.status_code == 200
    assert "<script>alert" not in page.content.decode()


def test_each_number_of_the_overview_leads_to_a_page(
    life: Life, staff: Callable[[str], Staff]
) -> None:
    person = staff("superuser")
    page = person.client.get(reverse("admin:index"), {"mode": "test"}).content.decode()
    links = set(re.findall(r'href="(/admin/[^"]+)"', page))
    assert len(links) > 15
    for link in links:
        if "logout" in link:
            continue
        status = person.client.get(link.replace("&amp;", "&")).status_code
        assert status == 200, link


def test_a_chart_stays_inside_its_picture() -> None:
    huge = 2**62
    buckets = [
        charts.Bucket(label=str(n), words="w", parts=(("a", huge if n == 3 else n), ("b", 1)))
        for n in range(24)
    ]
    drawn = charts.chart(buckets)
    assert not drawn.is_empty
    for bar in drawn.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= drawn.width
        for segment in bar.segments:
            assert 0 <= segment.y <= segment.y + segment.height <= drawn.base
    assert charts.chart([]).is_empty
    assert charts.chart([charts.Bucket(label="", words="", parts=(("a", 0),))]).is_empty


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (0, "EUR", "0.00 EUR"),
        (5, "EUR", "0.05 EUR"),
        (-123456, "EUR", "-1,234.56 EUR"),
        (1, "JPY", "1 JPY"),
        (1234567, "KWD", "1,234.567 KWD"),
        (2**63 - 1, "USD", "92,233,720,368,547,758.07 USD"),
        (42, "ZZZ", "42 minor units ZZZ"),
        (None, "EUR", "–"),
    ],
)
def test_money_is_written_exactly(amount: int | None, currency: str, text: str) -> None:
    assert money_text(amount, currency).replace("\u00a0", " ") == text


def test_ages_are_told_in_their_largest_unit() -> None:
    told = [age_text(timedelta(seconds=s)).replace("\u00a0", " ") for s in (5, 600, 9000, 900_000)]
    assert told == ["5 s", "10 min", "2 h", "10 days"]


def test_configuration_with_a_history_is_never_changed_behind_its_back() -> None:
    """QuerySet.update and bulk_update write no history row: no code of ours may use them there."""
    tracked = {"Merchant", "ApiKey", "ProviderAccount", "WebhookEndpoint"}
    offences = []
    for app in ("payments", "webhooks", "config"):
        for path in sorted(Path(settings.BASE_DIR, app).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if _bulk_write(node) & tracked:
                    offences.append(f"{path}:{getattr(node, 'lineno', 0)}")
    assert offences == []


def _bulk_write(node: ast.AST) -> set[str]:
    """The models whose manager this expression changes in bulk."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return set()
    if node.func.attr not in ("update", "bulk_update", "bulk_create", "delete"):
        return set()
    chain: Any = node.func.value
    names = set()
    through_manager = False
    for part in ast.walk(chain):
        if isinstance(part, ast.Name):
            names.add(part.id)
        through_manager |= isinstance(part, ast.Attribute) and part.attr == "objects"
    return names if through_manager else set()


def test_a_staff_account_is_changed_by_a_superuser_and_audited() -> None:
    from audit import timeline as audit_timeline

    root, person = make_staff(superuser=True), make_staff("Finance")
    url = reverse("admin:auth_user_change", args=[person.user.pk])
    answer = root.client.post(
        url,
        {
            "username": person.user.username,
            "is_active": "on",
            "is_staff": "on",
            "date_joined_0": "2026-01-01",
            "date_joined_1": "00:00:00",
            "groups": [],
        },
    )
    assert answer.status_code == 302, answer.content.decode()[:2000]
    assert person.user.groups.count() == 0
    records = audit_timeline.timeline(stream_type="user", stream_id=str(person.user.pk))
    changed = next(record for record in records if record.event_type == "staff.changed")
    assert (changed.actor_id, changed.body["groups"]) == (str(root.user.pk), [])


def test_webhooks_that_are_stuck_are_part_of_the_story(shop: Shop) -> None:
    payment: Payment = shop.created(confirm=False, payment_method="")
    reference = shop.provider_reference(payment.pk)
    shop.receive(
        {"id": f"evt_{reference}", "type": "payment.odd", "data": {"payment": {"id": reference}}}
    )
    stuck = webhook_story.stuck_inbound_of(
        provider="sandbox", account_id=shop.account.pk, subject=reference, limit=10
    )
    assert [line.event_type for line in stuck] == ["payment.odd"]


def test_the_overview_counts_what_waits_for_a_person(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    now = datetime.now(UTC)
    before = open_work.cases(livemode=False, now=now), open_work.disputes(livemode=False, now=now)
    held(shop)
    disputed(open_shop())
    cases = open_work.cases(livemode=False, now=now)
    disputes = open_work.disputes(livemode=False, now=now + timedelta(days=1))
    assert cases.count == before[0].count + 1
    assert sum(row.count for row in cases.rows) == cases.count
    assert disputes.count == before[1].count + 1
    assert disputes.due_count >= 1
    assert open_work.cases(livemode=True, now=now).count == 0
    person = staff("Finance")
    page = person.client.get("/admin/?mode=test").content.decode()
    for words in ("To be decided", "Disputes", "Refunds under way", "Above the merchant"):
        assert words in page, words
    for row in (*cases.rows, *disputes.rows):
        assert person.client.get(row.url).status_code == 200, row.url
    assert "To be decided" not in staff("").client.get("/admin/?mode=test").content.decode()


def test_the_metrics_count_what_waits_for_a_person(shop: Shop) -> None:
    held(shop)
    disputed(open_shop())
    found = {metric.name: metric for metric in measured_payments.parts(datetime.now(UTC))}
    labelled = {
        name: {tuple(sample.labels.values()): sample.value for sample in metric.samples}
        for name, metric in found.items()
    }
    assert labelled["florin_review_cases_open"]["test", "screening"] >= 1
    assert labelled["florin_disputes_open"]["test", "chargeback"] >= 1
    assert labelled["florin_amount_at_risk_minor"]["test", "EUR", "review"] >= 4200
    assert labelled["florin_amount_at_risk_minor"]["test", "EUR", "dispute"] >= 4200
    assert "florin_refunds_pending" in labelled


def test_a_waterfall_ends_with_what_is_left(shop: Shop) -> None:
    payment = shop.created()
    payment.amount_refunded_minor, payment.amount_refund_pending_minor = 1000, 200
    payment.amount_disputed_minor, payment.amount_reversed_minor = 1500, 0
    picture = waterfall.of(payment)
    assert [bar.label for bar in picture.bars] == [
        "Asked for",
        "Held",
        "Taken",
        "Refunded",
        "Refund under way",
        "Disputed",
        "Left",
    ]
    left = picture.bars[-1]
    assert left.amount.replace("\u00a0", " ") == "15.00 EUR"
    assert abs(picture.bars[-2].x - left.width) <= 1
    payment.amount_reversed_minor, payment.double_loss_minor = 4200, 2700
    assert waterfall.of(payment).bars[-1].width == 0
    assert waterfall.of(payment).double_loss.startswith("27.00")
