"""The sandbox PSP's settlements and payouts, and what a settlement report gets wrong on demand."""

from __future__ import annotations

import csv
import io
import time
from typing import Any

import pytest
import urllib3

from tests.payments.sandbox_account import SandboxAccount
from tests.processes import RunningProcess

DAY_SECONDS = 86_400


@pytest.fixture
def account(sandbox_psp: RunningProcess) -> SandboxAccount:
    account = SandboxAccount(sandbox_psp.url)
    account.set(settle_after_seconds=3_600, settlement_batch_seconds=DAY_SECONDS)
    account.set(payout_after_seconds=DAY_SECONDS, late_failure_after_seconds=DAY_SECONDS)
    return account


def _pay(account: SandboxAccount, reference: str = "pay_1", **more: Any) -> dict[str, Any]:
    order = {"amount_minor": 1_000, "currency": "EUR", "reference": reference, "confirm": True}
    return account.call("POST", "/v1/payments", {**order, "token": "tok_visa", **more})[1]


def _items(account: SandboxAccount) -> list[tuple[str, str, int, str]]:
    return [
        (item["kind"], item["reference"], item["amount_minor"], item["currency"])
        for settlement in account.settlements()
        for item in settlement["items"]
        if item["kind"] != "payout"
    ]


def _items_soon(account: SandboxAccount) -> list[tuple[str, str, int, str]]:
    """What was settled; a day that was just moved past may still be closing on a busy machine."""
    deadline = time.monotonic() + 60
    while not (items := _items(account)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return items


def test_what_becomes_available_is_settled_in_one_batch_and_paid_out(
    account: SandboxAccount,
) -> None:
    for number in range(3):
        _pay(account, f"pay_{number}")
    _pay(account, "pay_usd", currency="USD")
    account.advance(2 * 3_600)
    assert account.settlements() == []
    account.advance(DAY_SECONDS)
    by_currency = {one["currency"]: one for one in account.settlements()}
    assert set(by_currency) == {"EUR", "USD"}
    settlement = by_currency["EUR"]
    assert [item["kind"] for item in settlement["items"]] == ["charge", "fee"] * 3 + ["payout"]
    assert settlement["item_count"] == 7
    assert settlement["net_minor"] == settlement["payout_minor"] == 3 * (1_000 - 59)
    assert sum(item["amount_minor"] for item in settlement["items"]) == 0
    assert [payout["status"] for payout in account.payouts()] == ["in_transit"] * 2
    account.advance(DAY_SECONDS)
    assert [payout["status"] for payout in account.payouts()] == ["paid"] * 2


def test_every_change_of_the_balance_is_an_item_with_our_references(
    account: SandboxAccount,
) -> None:
    paid = _pay(account)
    account.advance(3_600)
    path = f"/v1/payments/{paid['id']}"
    _, refund = account.call("POST", f"{path}/refunds", {"amount_minor": 100, "reference": "re_1"})
    account.stage_refund(refund["id"], "fail_late")
    account.stage(paid["id"], "dispute")
    account.stage_dispute(account.payments("pay_1")[0]["disputes"][0]["id"], "won")
    account.stage(paid["id"], "return", code="R10")
    account.stage(paid["id"], "undo_return")
    account.advance(DAY_SECONDS)
    (settlement,) = account.settlements()
    moved = [(item["kind"], item["amount_minor"]) for item in settlement["items"]]
    assert moved == [
        ("charge", 1_000),
        ("fee", -59),
        ("refund", -100),
        ("refund_failure", 100),
        ("dispute", -1_000),
        ("dispute_fee", -1_500),
        ("dispute_reversal", 1_000),
        ("return", -1_000),
        ("return_reversal", 1_000),
    ]
    assert {item["reference"] for item in settlement["items"]} == {"pay_1"}
    assert settlement["items"][2]["part_reference"] == "re_1"


def test_a_negative_balance_is_carried_over_and_not_paid_out(account: SandboxAccount) -> None:
    paid = _pay(account)
    account.stage(paid["id"], "refund", amount_minor=900)
    account.advance(DAY_SECONDS + 3_600)
    account.stage(paid["id"], "dispute", amount_minor=100)
    account.advance(DAY_SECONDS)
    _pay(account, "pay_2", amount_minor=10_000)
    account.advance(DAY_SECONDS + 3_600)
    balances = [
        (one["opening_balance_minor"], one["net_minor"], one["payout_minor"])
        for one in reversed(account.settlements())
    ]
    assert balances == [(0, 41, 41), (0, -1_600, 0), (-1_600, 9_680, 8_080)]


def test_a_payout_may_fail_after_it_was_paid_and_is_paid_again(account: SandboxAccount) -> None:
    account.set(payout_fails_late=1)
    _pay(account)
    account.advance(4 * DAY_SECONDS + 2 * 3_600)
    again, failed = account.payouts()
    assert failed["status"] == "failed"
    assert failed["paid_at"]
    assert failed["failure"]["code"]
    assert again["amount_minor"] == failed["amount_minor"] == 941
    newest = account.settlements()[0]
    assert [item["kind"] for item in newest["items"]] == ["payout_failure", "payout"]


def test_a_payout_that_is_under_way_can_be_sent_back(account: SandboxAccount) -> None:
    _pay(account)
    account.advance(DAY_SECONDS + 3_600)
    (payout,) = account.payouts()
    assert account.fail_payout(payout["id"])["status"] == "failed"
    account.advance(DAY_SECONDS)
    assert [one["status"] for one in account.payouts()] == ["in_transit", "failed"]


CHARGE, FEE = ("charge", "pay_1", 1_000, "EUR"), ("fee", "pay_1", -59, "EUR")
PLANTED: dict[str, list[tuple[str, str, int, str]]] = {
    "settlement_missing_item": [FEE],
    "settlement_extra_item": [CHARGE, ("charge", "", 1_000, "EUR"), FEE],
    "settlement_wrong_amount": [("charge", "pay_1", 1_001, "EUR"), FEE],
    "settlement_wrong_currency": [("charge", "pay_1", 1_000, "USD"), FEE],
    "settlement_duplicated_item": [CHARGE, CHARGE, FEE],
    "settlement_wrong_fee": [CHARGE, ("fee", "pay_1", -60, "EUR")],
}


@pytest.mark.parametrize("knob", PLANTED)
def test_a_discrepancy_is_planted_in_the_report_and_nowhere_else(
    knob: str, account: SandboxAccount
) -> None:
    account.set(**{knob: 1})
    paid = _pay(account)
    account.advance(DAY_SECONDS + 3_600)
    assert sorted(_items_soon(account)) == sorted(PLANTED[knob])
    settled = account.payments("pay_1")[0]
    assert settled["settled"]
    assert (settled["amount_settled_minor"], settled["fee_minor"]) == (1_000, 59)
    assert [m["amount_minor"] for m in account.movements(reference="pay_1")] == [1_000]
    assert paid["id"] == settled["id"]
    _pay(account, "pay_2")
    account.advance(DAY_SECONDS + 3_600)
    second = [item for item in _items(account) if item[1] == "pay_2"]
    assert second == [("charge", "pay_2", 1_000, "EUR"), ("fee", "pay_2", -59, "EUR")]


def test_a_voided_capture_is_in_no_settlement(account: SandboxAccount) -> None:
    paid = _pay(account)
    account.call("POST", f"/v1/payments/{paid['id']}/cancel", {})
    account.advance(3 * DAY_SECONDS)
    assert account.settlements() == []
    voided = account.payments("pay_1")[0]
    assert (voided["settled"], voided["fee_minor"]) == (False, 0)


def test_items_come_in_pages_and_as_a_file(account: SandboxAccount) -> None:
    for number in range(5):
        _pay(account, f"pay_{number}")
    account.advance(DAY_SECONDS + 2 * 3_600)
    (settlement,) = account.settlements()
    path = f"/v1/settlements/{settlement['id']}"
    pages: list[dict[str, Any]] = []
    while page := account.call(
        "GET", f"{path}/items?limit=4&after={pages[-1]['seq'] if pages else 0}"
    )[1]["data"]:
        pages += page
    assert pages == settlement["items"]
    answer = urllib3.request(
        "GET",
        f"{account.url}{path}/report.csv",
        headers={"Authorization": f"Bearer {account.secret_key}"},
    )
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.data.decode())))
    assert [int(row["amount_minor"]) for row in rows] == [item["amount_minor"] for item in pages]
    assert [row["reference"] for row in rows] == [item["reference"] for item in pages]
    stranger = SandboxAccount(account.url)
    assert stranger.call("GET", path)[0] == 404
    assert stranger.call("GET", f"{path}/items")[1]["data"] == []
