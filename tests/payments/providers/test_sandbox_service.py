"""The sandbox PSP as a service: its books, its keys, its payer's side, its life as a process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3

from config import processes
from payments.providers import provider_for
from payments.providers.base import Outcome
from payments.providers.sandbox.errors import DECLINES
from payments.providers.sandbox.service import behaviour, instruments
from tests.payments.providers.receiver import eventually
from tests.payments.sandbox_account import SandboxAccount
from tests.processes import RunningProcess, running


@pytest.fixture
def account(sandbox_psp: RunningProcess) -> SandboxAccount:
    return SandboxAccount(sandbox_psp.url)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def own_service(folder: Path, port: int) -> Iterator[RunningProcess]:
    command = processes.sandbox_provider(port=port, data_folder=folder)
    url = f"http://127.0.0.1:{port}"
    with running(command, log_path=folder / "log", url=url, ready_path="/healthz") as child:
        yield child


def _order(reference: str = "pay_1", **more: Any) -> dict[str, Any]:
    return {"amount_minor": 1_000, "currency": "EUR", "reference": reference, **more}


def _paid(token: str = "tok_visa", **more: Any) -> dict[str, Any]:
    return _order(confirm=True, token=token, **more)


def test_a_killed_service_comes_back_with_its_books_its_answers_and_its_work(
    tmp_path: Path,
) -> None:
    port, key = free_port(), {"Idempotency-Key": "key-1"}
    with own_service(tmp_path, port) as service:
        account = SandboxAccount(service.url)
        account.set(settle_after_seconds=86_400)
        account.advance(3_600)
        first = account.call("POST", "/v1/payments", _paid(), headers=key)
        service.kill()
    with own_service(tmp_path, port):
        assert account.call("POST", "/v1/payments", _paid(), headers=key) == first
        assert len(account.movements(reference="pay_1")) == 1
        status, _ = account.call("POST", "/v1/payments", _paid("tok_amex"), headers=key)
        assert status == 422
        account.advance(86_400)
        payment = account.payments("pay_1")[0]
        assert payment["settled"]
        assert [event["type"] for event in account.events()] == [
            "payment.created",
            "payment.captured",
            "payment.settled",
        ]


def test_a_taken_port_is_told_in_one_sentence(sandbox_psp: RunningProcess, tmp_path: Path) -> None:
    port = int(sandbox_psp.url.rpartition(":")[2])
    command = processes.sandbox_provider(port=port, data_folder=tmp_path)
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 1
    assert ended.stderr.strip() == (
        f"The sandbox cannot listen on 127.0.0.1:{port}: Address already in use."
        " Stop what uses the port, or choose another."
    )


def test_two_services_never_share_one_record(tmp_path: Path) -> None:
    with own_service(tmp_path, free_port()):
        command = processes.sandbox_provider(port=free_port(), data_folder=tmp_path)
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 1
    assert "Another sandbox is already running" in ended.stderr


def test_the_server_process_leaves_when_its_parent_is_killed(tmp_path: Path) -> None:
    with own_service(tmp_path, free_port()) as service:
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait()
        eventually(lambda: not _answers(service.url))


def test_a_hanging_request_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    with own_service(tmp_path, free_port()) as service:
        account = SandboxAccount(service.url)
        thread = threading.Thread(
            target=_lost_call, args=(account, _paid("tok_timeout_after_commit"))
        )
        thread.start()
        eventually(lambda: len(account.movements()) == 1)
        service.process.terminate()
        service.process.wait(10)
        thread.join(10)
        assert not thread.is_alive()


def _lost_call(account: SandboxAccount, order: dict[str, Any]) -> None:
    with pytest.raises(urllib3.exceptions.HTTPError):
        account.call("POST", "/v1/payments", order)


def _answers(url: str) -> bool:
    try:
        urllib3.request("GET", f"{url}/healthz", retries=False, timeout=2.0)
    except urllib3.exceptions.HTTPError:
        return False
    return True


def test_the_service_runs_without_django(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from payments.providers.sandbox.service.application import Sandbox\n"
        f"Sandbox(pathlib.Path({str(tmp_path)!r}))\n"
        "sys.exit('django' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=processes.BASE_DIR)


def test_two_keys_are_two_companies(account: SandboxAccount) -> None:
    stranger = SandboxAccount(account.url)
    payment = account.call("POST", "/v1/payments", _paid())[1]
    assert stranger.call("GET", f"/v1/payments/{payment['id']}")[0] == 404
    assert stranger.payments("pay_1") == []
    assert stranger.movements() == []


def test_the_payer_sees_a_payment_by_its_client_secret_and_nothing_of_the_merchants(
    account: SandboxAccount,
) -> None:
    payment = account.call("POST", "/v1/payments", _paid())[1]
    path = f"/v1/payments/{payment['id']}"
    wrong = f"{path}?client_secret={payment['client_secret'][:-1]}"
    assert account.call("GET", path, as_payer=True)[0] == 404
    assert account.call("GET", wrong, as_payer=True)[0] == 404
    right = f"{path}?client_secret={payment['client_secret']}"
    status, seen = account.call("GET", right, as_payer=True)
    assert (status, seen["status"]) == (200, "captured")
    assert not {"fee_minor", "settled", "token"} & set(seen)
    for verb in ("capture", "cancel"):
        assert account.call("POST", f"{path}/{verb}", {}, as_payer=True)[0] == 401


def test_a_browser_may_call_the_payers_side_from_any_page(account: SandboxAccount) -> None:
    answer = urllib3.request(
        "OPTIONS",
        f"{account.url}/v1/payments/sbp_1/confirm",
        headers={
            "Origin": "https://shop.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_three_d_secure_is_a_page_that_leads_back_to_the_shop(account: SandboxAccount) -> None:
    order = _paid("tok_3ds", return_url="https://shop.example/thanks")
    payment = account.call("POST", "/v1/payments", order)[1]
    page = urllib3.request("GET", payment["next_action"]["url"])
    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")
    form = {"client_secret": payment["client_secret"], "result": "succeed"}
    url = payment["next_action"]["url"].partition("?")[0]
    body = urlencode(form).encode()
    done = urllib3.request("POST", url, body=body, redirect=False)
    assert (done.status, done.headers["Location"]) == (303, "https://shop.example/thanks")
    assert account.payments("pay_1")[0]["status"] == "captured"


@pytest.mark.parametrize(
    "address", ["https://shop.example/\r\nSet-Cookie: a=b", "javascript:alert(1)", "", "https://é"]
)
def test_the_payers_page_leads_to_web_addresses_only(address: str, account: SandboxAccount) -> None:
    payment = account.call("POST", "/v1/payments", _paid("tok_3ds", return_url=address))[1]
    body = urlencode({"client_secret": payment["client_secret"], "result": "fail"}).encode()
    url = payment["next_action"]["url"].partition("?")[0]
    done = urllib3.request("POST", url, body=body, redirect=False)
    assert done.status == 200
    assert "Location" not in done.headers


def test_a_number_is_taken_by_the_tokeniser_only(account: SandboxAccount) -> None:
    account.call("GET", "/v1/account")  # the secret key opens the account
    number = {"number": "4000 0000 0000 9995"}
    status, token = account.call("POST", "/v1/tokens", number, as_payer=True)
    assert (status, token["id"]) == (200, "tok_insufficient_funds")
    assert (
        account.call("POST", "/v1/tokens", {"number": "4111111111111111"}, as_payer=True)[0] == 402
    )
    assert account.call("POST", "/v1/payments", _paid("4242424242424242"))[0] == 400


@pytest.mark.parametrize("row", instruments.BY_TOKEN.values(), ids=lambda row: row.name)
def test_every_instrument_does_what_its_row_says(
    row: behaviour.Instrument, account: SandboxAccount
) -> None:
    account.set(hang_seconds=0.1, slow_seconds=0.1, bank_result_after_seconds=60)
    account.set(capture_result_after_seconds=60, late_failure_after_seconds=60)
    key = {"Idempotency-Key": f"key-{row.name}"}
    with contextlib.suppress(urllib3.exceptions.ProtocolError):
        account.call("POST", "/v1/payments", _paid(row.name), headers=key)
    eventually(lambda: account.call("POST", "/v1/payments", _paid(row.name), headers=key)[0] != 409)
    status, answer = account.call("POST", "/v1/payments", _paid(row.name), headers=key)
    payment = answer["error"]["payment"] if status == 402 else answer
    if row.authentication:
        assert payment["status"] == "requires_action"
        account.authenticate(payment["id"], payment["client_secret"], passed=True)
    if row.review:
        assert payment["status"] == "under_review"
        account.stage(payment["id"], "approve")
    if row.asynchronous or row.capture.startswith("asynchronous"):
        assert payment["status"] == ("processing" if row.asynchronous else "capture_pending")
        account.advance(60)
    ended = account.payments("pay_1")
    assert len(ended) == 1
    assert ended[0]["status"] == _expected_end(row)
    assert len(account.movements()) == (ended[0]["status"] == "captured")


def _expected_end(row: behaviour.Instrument) -> str:
    if row.decline or row.capture in {"refused", "hold_lost"}:
        return "declined"
    by_capture = {"asynchronous_refused": "authorized", "asynchronous_hold_lost": "failed"}
    return "under_inspection" if row.answer == "status" else by_capture.get(row.capture, "captured")


def test_card_numbers_pass_the_luhn_check() -> None:
    cards = [row.number for row in instruments.BY_TOKEN.values() if row.kind == "card"]
    assert all(_luhn(number) == 0 for number in cards)
    assert len(instruments.BY_NUMBER) == len(instruments.BY_TOKEN)


def _luhn(number: str) -> int:
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10


def test_every_decline_of_the_sandbox_has_a_standard_code() -> None:
    assert set(DECLINES) == set(behaviour.DECLINES)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"customer": 7}, "customer"),
        ({"off_session": "yes"}, "off_session"),
        ({"amount_minor": 0}, "amount_minor"),
        ({"amount_minor": -1}, "amount_minor"),
        ({"amount_minor": 10.5}, "amount_minor"),
        ({"amount_minor": True}, "amount_minor"),
        ({"amount_minor": "100"}, "amount_minor"),
        ({"amount_minor": 2**63}, "amount_minor"),
        ({"currency": "eur"}, "currency"),
        ({"currency": None}, "currency"),
        ({"reference": ""}, "reference"),
        ({"reference": "\ud800"}, "reference"),
        ({"capture": "later"}, "capture"),
        ({"confirm": 1}, "confirm"),
        ({"card_number": "4242"}, "card_number"),
        ({"confirm": True}, "token"),
    ],
)
def test_a_wrong_order_is_refused_by_field_and_leaves_nothing(
    change: dict[str, Any], param: str, account: SandboxAccount
) -> None:
    status, answer = account.call("POST", "/v1/payments", _order() | change)
    assert (status, answer["error"]["param"]) == (400, param)
    assert account.payments("pay_1") == []
    assert account.events() == []


@pytest.mark.parametrize("raw", [b"[]", b"{", b"\xff", b'{"a":1,"a":2}', b'{"a":NaN}'])
def test_a_body_that_is_not_one_object_is_refused(raw: bytes, account: SandboxAccount) -> None:
    answer = urllib3.request(
        "POST",
        f"{account.url}/v1/payments",
        body=raw,
        headers={"Authorization": f"Bearer {account.secret_key}"},
    )
    assert answer.status == 400


def test_one_payment_confirmed_by_many_at_once_is_taken_once(account: SandboxAccount) -> None:
    payment = account.call("POST", "/v1/payments", _order())[1]
    path = f"/v1/payments/{payment['id']}/confirm"
    statuses: list[int] = []

    def confirm() -> None:
        statuses.append(account.call("POST", path, {"token": "tok_visa"})[0])

    threads = [threading.Thread(target=confirm) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 11
    assert len(account.movements()) == 1


def test_moving_the_clock_does_what_falls_due_before_it_answers(account: SandboxAccount) -> None:
    account.set(settle_after_seconds=7 * 86_400, bank_result_after_seconds=3 * 86_400)
    account.call("POST", "/v1/payments", _paid("tok_bank"))
    account.advance(3 * 86_400)
    assert account.payments("pay_1")[0]["status"] == "captured"
    account.advance(7 * 86_400)
    assert account.payments("pay_1")[0]["settled"]


def test_the_fee_is_rounded_half_up_and_never_more_than_the_payment(
    account: SandboxAccount,
) -> None:
    for amount, fee in ((1_000, 59), (1, 1), (1_050, 60), (1_052, 61), (10_000, 320)):
        order = _paid() | {"amount_minor": amount}
        assert account.call("POST", "/v1/payments", order)[1]["fee_minor"] == fee
    account.set(fee_known="settlement", fee_basis_points=100, fee_fixed_minor=0)
    late = account.call("POST", "/v1/payments", _paid())[1]
    assert late["fee_minor"] is None
    account.advance(60)
    assert account.call("GET", f"/v1/payments/{late['id']}")[1]["fee_minor"] == 10


@pytest.mark.parametrize(
    "knobs",
    [
        {"no_such_knob": 1},
        {"fail_reads": -1},
        {"fail_reads": "1"},
        {"outage": 1},
        {"fee_known": "never"},
    ],
)
def test_a_wrong_knob_is_refused(knobs: dict[str, Any], account: SandboxAccount) -> None:
    assert account.call("POST", "/v1/control/settings", knobs)[0] == 400


def test_an_outage_refuses_everything_but_the_controls(account: SandboxAccount) -> None:
    account.set(outage=True)
    assert account.call("POST", "/v1/payments", _paid())[0] == 503
    assert account.call("GET", "/v1/payments?reference=pay_1")[0] == 503
    account.set(outage=None)
    assert account.call("POST", "/v1/payments", _paid())[0] == 200


def test_a_rate_limited_call_says_when_to_ask_again(account: SandboxAccount) -> None:
    account.set(rate_limited=1)
    limited, answered = (
        provider_for("sandbox").fetch_payment(
            credentials=account.credentials(), timeout_seconds=5.0, our_reference="pay_1"
        )
        for _ in range(2)
    )
    assert (limited.outcome, limited.retry_after_seconds) == (Outcome.NOT_SENT, 2.0)
    assert answered.not_found


def test_a_merchant_finds_a_payment_by_its_refund(account: SandboxAccount) -> None:
    paid = account.call("POST", "/v1/payments", _paid())[1]
    refund = {"amount_minor": 100, "reference": "re_1"}
    assert account.call("POST", f"/v1/payments/{paid['id']}/refunds", refund)[0] == 200
    found = provider_for("sandbox").fetch_payment(
        credentials=account.credentials(), timeout_seconds=5.0, our_reference="re_1"
    )
    assert found.snapshot is not None
    assert found.snapshot.provider_reference == paid["id"]
    assert found.snapshot.refunds is not None
    assert [one.our_reference for one in found.snapshot.refunds] == ["re_1"]
