"""What a payment at the sandbox PSP goes through after it was captured: by token, by clock.

Each token tells one story. The story is read from the other company's side: its movements, and its
events, of which each carries the whole payment under a version that rises by one.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

from payments.providers.sandbox.service.instruments import BY_TOKEN
from tests.payments.sandbox_account import SandboxAccount
from tests.processes import RunningProcess

DAY_SECONDS = 86_400
REFUND = {"amount_minor": 400, "reference": "re_1"}
EVIDENCE = {"texts": {"product_description": "A hat."}}


@pytest.fixture
def account(sandbox_psp: RunningProcess) -> SandboxAccount:
    return SandboxAccount(sandbox_psp.url)


def _pay(account: SandboxAccount, token: str = "tok_visa", **more: Any) -> dict[str, Any]:
    order = {"amount_minor": 1_000, "currency": "EUR", "reference": "pay_1", "confirm": True}
    status, answer = account.call("POST", "/v1/payments", {**order, "token": token, **more})
    assert status == 200, answer
    return answer


def _moved(account: SandboxAccount) -> list[tuple[str, int]]:
    movements = account.movements(kind="")
    return [(one["kind"], one["amount_minor"]) for one in movements if one["kind"] != "hold"]


def _now(account: SandboxAccount) -> dict[str, Any]:
    (payment,) = account.payments("pay_1")
    return payment


def _last_dispute(account: SandboxAccount) -> dict[str, Any]:
    return dict(_now(account)["disputes"][-1])


def _answer_dispute(account: SandboxAccount, **more: Any) -> tuple[int, dict[str, Any]]:
    path = f"/v1/disputes/{_last_dispute(account)['id']}/evidence"
    return account.call("POST", path, {**EVIDENCE, **more})


# --- the stories of the tokens -----------------------------------------------------------------

DISPUTED = [("capture", 1_000), ("dispute", 1_000), ("dispute_fee", 1_500)]
STORIES: dict[str, tuple[str, list[tuple[str, int]]]] = {
    "tok_async_capture": ("captured", [("capture", 1_000)]),
    "tok_async_capture_refused": ("authorized", []),
    "tok_async_capture_hold_lost": ("failed", [("release", 1_000)]),
    "tok_capture_fails_late": ("capture_failed", [("capture", 1_000), ("capture_failure", 1_000)]),
    "tok_dispute": ("captured", DISPUTED),
    "tok_dispute_inquiry": ("captured", [("capture", 1_000)]),
    "tok_dispute_withdrawn": (
        "captured",
        [*DISPUTED, ("dispute_reversal", 1_000)],
    ),
    "tok_dispute_escalating": ("captured", DISPUTED),
    "tok_dispute_alert": ("captured", DISPUTED),
    "tok_bank_return": ("returned", [("capture", 1_000), ("return", 1_000)]),
    "tok_bank_return_late": ("returned", [("capture", 1_000), ("return", 1_000)]),
    "tok_bank_return_dishonoured": (
        "captured",
        [("capture", 1_000), ("return", 1_000), ("return_reversal", 1_000)],
    ),
}


@pytest.mark.parametrize("token", STORIES)
def test_a_token_tells_its_story_by_the_clock_alone(token: str, account: SandboxAccount) -> None:
    _pay(account, token)
    account.advance(60 * DAY_SECONDS)
    status, moved = STORIES[token]
    assert (_now(account)["status"], _moved(account)) == (status, moved)


@pytest.mark.parametrize("token", [name for name in BY_TOKEN if BY_TOKEN[name].fault == ""])
def test_every_change_is_one_version_and_one_event_with_everything_in_it(
    token: str, account: SandboxAccount
) -> None:
    order = {"amount_minor": 1_000, "currency": "EUR", "reference": "pay_1", "confirm": True}
    account.call("POST", "/v1/payments", {**order, "token": token})
    account.call("POST", f"/v1/payments/{_now(account)['id']}/refunds", REFUND)
    account.advance(60 * DAY_SECONDS)
    told = [event["data"]["payment"] for event in account.events()]
    assert [payment["version"] for payment in told] == list(range(1, len(told) + 1))
    assert told[-1] == _now(account)
    for kind in ("captures", "refunds", "disputes"):
        versions: dict[str, list[int]] = {}
        for payment in told:
            for part in payment[kind]:
                versions.setdefault(part["id"], []).append(part["version"])
        assert all(row == sorted(row) and row[0] == 1 for row in versions.values())


def test_returns_come_in_their_time_and_with_their_code(account: SandboxAccount) -> None:
    account.set(bank_result_after_seconds=0, settle_after_seconds=3 * DAY_SECONDS)
    _pay(account, "tok_bank_return_late")
    account.advance(10)
    assert _now(account)["status"] == "captured"
    account.advance(3 * DAY_SECONDS + 44 * DAY_SECONDS)
    assert (_now(account)["status"], _now(account)["settled"]) == ("captured", True)
    account.advance(DAY_SECONDS)
    returned = _now(account)
    assert (returned["status"], returned["return_code"]) == ("returned", "R10")
    assert returned["amount_returned_minor"] == returned["amount_captured_minor"] == 1_000


# --- disputes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "status", "withdrawn"),
    [
        ("winning_evidence", "won", 0),
        ("losing_evidence", "lost", 1_000),
        ("partly_winning_evidence", "lost", 500),
        ("A hat.", "won", 0),
    ],
)
def test_the_words_of_the_evidence_decide(
    words: str, status: str, withdrawn: int, account: SandboxAccount
) -> None:
    _pay(account, "tok_dispute")
    account.advance(3)
    _answer_dispute(account, texts={"uncategorized_text": words})
    account.advance(3)
    ended = _last_dispute(account)
    assert (ended["status"], ended["funds_withdrawn_minor"]) == (status, withdrawn)


def test_a_token_may_lose_whatever_the_evidence(account: SandboxAccount) -> None:
    _pay(account, "tok_dispute_lost")
    account.advance(3)
    assert _answer_dispute(account)[0] == 200
    account.advance(3)
    assert _last_dispute(account)["status"] == "lost"


def test_a_second_dispute_follows_a_win(account: SandboxAccount) -> None:
    _pay(account, "tok_dispute_twice")
    account.advance(3)
    _answer_dispute(account)
    account.advance(10)
    statuses = [one["status"] for one in _now(account)["disputes"]]
    assert statuses == ["won", "needs_response"]
    _answer_dispute(account)
    account.advance(60)
    assert [one["status"] for one in _now(account)["disputes"]] == ["won", "won"]


def test_an_alert_is_prevented_by_a_full_refund_only(account: SandboxAccount) -> None:
    paid = _pay(account, "tok_dispute_alert")
    account.advance(3)
    account.call("POST", f"/v1/payments/{paid['id']}/refunds", REFUND)
    assert _last_dispute(account)["status"] == "needs_response"
    account.call("POST", f"/v1/payments/{paid['id']}/refunds", {"reference": "re_2"})
    assert _last_dispute(account)["status"] == "prevented"
    account.advance(30 * DAY_SECONDS)
    assert ("dispute", 1_000) not in _moved(account)


def test_evidence_has_a_deadline(account: SandboxAccount) -> None:
    _pay(account, "tok_dispute")
    account.advance(3)
    account.advance(7 * DAY_SECONDS)
    status, answer = _answer_dispute(account)
    assert (status, answer["error"]["code"]) == (409, "evidence_overdue")
    assert _last_dispute(account)["status"] == "expired"


def test_of_a_file_the_size_is_kept_and_nothing_else(account: SandboxAccount) -> None:
    _pay(account, "tok_dispute")
    account.advance(3)
    content = b"\x89PNG" + b"secret" * 100_000
    file = {"kind": "receipt", "filename": "receipt.png", "content_type": "image/png"}
    file["content_base64"] = base64.b64encode(content).decode()
    assert _answer_dispute(account, files=[file])[0] == 200
    (kept,) = _last_dispute(account)["files"]
    assert kept["size_bytes"] == len(content)
    assert set(kept) == {"kind", "filename", "content_type", "size_bytes"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"texts": {}},
        {"texts": {"a": 1}},
        {"texts": {"a": "x" * 20_001}},
        {"texts": []},
        {"files": {}},
        {"files": [{"content_type": "text/html", "content_base64": "AAAA"}]},
        {"files": [{"content_type": "image/png", "content_base64": "?"}]},
        {"files": [{"content_type": "image/png", "content_base64": ""}]},
    ],
)
def test_wrong_evidence_is_refused(wrong: dict[str, Any], account: SandboxAccount) -> None:
    _pay(account, "tok_dispute")
    account.advance(3)
    assert _answer_dispute(account, **wrong)[0] == 400
    assert _last_dispute(account)["status"] == "needs_response"


def test_a_disputes_stage_can_be_reopened_after_it_was_won_or_lost(account: SandboxAccount) -> None:
    paid = _pay(account)
    account.stage(paid["id"], "dispute")
    dispute = _last_dispute(account)["id"]
    for result, withdrawn in (("lost", 1_000), ("won", 0), ("escalated", 1_000), ("lost", 1_000)):
        account.stage_dispute(dispute, result)
        assert _last_dispute(account)["funds_withdrawn_minor"] == withdrawn
    account.stage_dispute(dispute, "escalated")
    assert _last_dispute(account)["stage"] == "arbitration"
    fees = [moved for moved in _moved(account) if moved[0] == "dispute_fee"]
    assert len(fees) == 1


# --- refunds -----------------------------------------------------------------------------------


def test_a_pending_refund_counts_against_what_is_left(account: SandboxAccount) -> None:
    paid = _pay(account, "tok_async_refund")
    path = f"/v1/payments/{paid['id']}/refunds"
    assert account.call("POST", path, REFUND)[0] == 200
    status, answer = account.call("POST", path, {"amount_minor": 601, "reference": "re_2"})
    assert (status, answer["error"]["code"]) == (400, "amount_not_refundable")
    account.advance(3)
    assert _moved(account)[-1] == ("refund", 400)
    assert _now(account)["amount_refunded_minor"] == 400


def test_a_refund_that_waits_for_the_payer_succeeds_when_they_act(account: SandboxAccount) -> None:
    paid = _pay(account, "tok_refund_action")
    _, refund = account.call("POST", f"/v1/payments/{paid['id']}/refunds", REFUND)
    assert refund["status"] == "requires_action"
    account.stage_refund(refund["id"], "succeed")
    assert _moved(account)[-1] == ("refund", 400)


def test_a_movement_is_found_by_our_id_of_the_payment_and_of_the_part(
    account: SandboxAccount,
) -> None:
    held = _pay(account, capture="manual")
    path = f"/v1/payments/{held['id']}"
    account.call("POST", f"{path}/capture", {"amount_minor": 600, "reference": "cap_1"})
    account.call("POST", f"{path}/refunds", REFUND)
    assert [m["amount_minor"] for m in account.movements(reference="cap_1", kind="")] == [600]
    assert [m["amount_minor"] for m in account.movements(reference="re_1", kind="")] == [400]
    assert len(account.movements(reference="pay_1", kind="")) == 4
    for reference in ("cap_1", "re_1"):
        assert [payment["id"] for payment in account.payments(reference)] == [held["id"]]


def test_a_knob_says_how_captures_and_refunds_go_whatever_the_token(
    account: SandboxAccount,
) -> None:
    account.set(capture_behaviour="asynchronous", refund_behaviour="refused")
    paid = _pay(account)
    assert paid["status"] == "capture_pending"
    account.advance(3)
    assert account.call("POST", f"/v1/payments/{paid['id']}/refunds", REFUND)[0] == 402
    account.set(capture_behaviour=None, refund_behaviour=None)
    assert account.call("POST", f"/v1/payments/{paid['id']}/refunds", REFUND)[0] == 200


# --- what is held ------------------------------------------------------------------------------


def test_what_is_held_runs_out_by_the_clock(account: SandboxAccount) -> None:
    account.set(authorization_lifetime_seconds=3_600)
    held = _pay(account, capture="manual")
    assert held["expires_at"]
    account.advance(3_599)
    assert _now(account)["status"] == "authorized"
    account.advance(1)
    assert _now(account)["cancellation_reason"] == "expired"
    assert account.events()[-1]["type"] == "payment.canceled"


def test_a_capture_that_is_refused_after_the_holds_time_finds_no_hold(
    account: SandboxAccount,
) -> None:
    account.set(authorization_lifetime_seconds=3_600, capture_result_after_seconds=7_200)
    held = _pay(account, "tok_async_capture_refused", capture="manual")
    account.call("POST", f"/v1/payments/{held['id']}/capture", {})
    account.advance(7_200)
    assert _now(account)["status"] == "failed"
    assert _moved(account) == [("release", 1_000)]


def test_a_payment_with_a_refund_is_not_voided(account: SandboxAccount) -> None:
    paid = _pay(account)
    account.call("POST", f"/v1/payments/{paid['id']}/refunds", REFUND)
    status, answer = account.call("POST", f"/v1/payments/{paid['id']}/cancel", {})
    assert (status, answer["error"]["payment"]["status"]) == (409, "captured")
    assert ("void", 1_000) not in _moved(account)


def test_money_may_arrive_for_a_payment_that_had_ended(account: SandboxAccount) -> None:
    order = {"amount_minor": 1_000, "currency": "EUR", "reference": "pay_1", "confirm": True}
    account.call("POST", "/v1/payments", {**order, "token": "tok_lost_card"})
    account.stage(_now(account)["id"], "succeed_late")
    assert _now(account)["status"] == "captured"
    account.stage(_now(account)["id"], "settle")
    assert _now(account)["settled"]


def test_a_control_that_does_not_fit_is_refused(account: SandboxAccount) -> None:
    paid = _pay(account)
    path = f"/v1/control/payments/{paid['id']}"
    assert account.call("POST", f"{path}/nonsense", {})[0] == 404
    assert account.call("POST", f"{path}/approve", {})[0] == 409
    assert account.call("POST", f"{path}/adjust", {"amount_minor": 5})[0] == 409
    assert account.call("POST", f"{path}/dispute", {"stage": "never"})[0] == 400
    assert account.call("POST", f"{path}/dispute", {"amount_minor": 1_001})[0] == 400
    assert account.call("POST", "/v1/control/refunds/sbr_1", {"result": "succeed"})[0] == 404
    assert account.call("POST", "/v1/control/disputes/sbd_1", {"result": "?"})[0] == 400
    assert account.call("POST", "/v1/control/payouts/sbo_1/fail", {})[0] == 404


def test_controls_are_not_touched_by_chaos(account: SandboxAccount) -> None:
    paid = _pay(account)
    account.set(outage=True, fail_after_commit=1, rate_limited=1)
    account.stage(paid["id"], "refund", amount_minor=100)
    account.set(outage=None, fail_after_commit=None, rate_limited=None)
    assert _now(account)["refunds"][0]["source"] == "dashboard"


def test_a_stranger_sees_no_part_of_another_account(account: SandboxAccount) -> None:
    paid = _pay(account)
    _, refund = account.call("POST", f"/v1/payments/{paid['id']}/refunds", REFUND)
    account.stage(_pay(account, reference="pay_2")["id"], "dispute")
    dispute = account.payments("pay_2")[0]["disputes"][0]
    stranger = SandboxAccount(account.url)
    for path in (f"refunds/{refund['id']}", f"disputes/{dispute['id']}"):
        assert account.call("GET", f"/v1/{path}")[0] == 200
        assert stranger.call("GET", f"/v1/{path}")[0] == 404
        assert stranger.call("POST", f"/v1/control/{path}", {"result": "won"})[0] in {400, 404}
    assert stranger.call("POST", f"/v1/disputes/{dispute['id']}/accept", {})[0] == 404
