"""The stand-in's HTTP: routes, keys, idempotency, expansion, faults and webhooks.

`POST /_control/...` with the secret key is the tests' side: `faults` (names with counts),
`authenticate`, `bank_answers`, `settle`, `webhook`.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import threading
import time
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import urllib3

from tests.stripe_stand_in.objects import Json, Refused, Vault
from tests.stripe_stand_in.payment_methods import NUMBERS

HANG_SECONDS = 3.0
_FAULTS_BEFORE = ("hang_before_commit", "fail_before_commit", "rate_limit")
_FAULTS_AFTER = ("hang_after_commit", "drop_after_commit", "fail_after_commit")
_WRONG_ANSWERS = ("amount_mismatch", "unknown_status")


class Account:
    """What the stand-in knows of one secret key."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.vault = Vault()
        self.answers: dict[str, tuple[str, int, Json]] = {}
        self.in_flight: set[str] = set()
        self.faults: Counter[str] = Counter()
        self.webhooks: list[tuple[str, str]] = []
        self.sent = 0

    def take_fault(self, names: tuple[str, ...]) -> str:
        """The first armed fault of `names`, counted down."""
        with self.lock:
            for name in names:
                if self.faults[name] > 0:
                    self.faults[name] -= 1
                    return name
        return ""


_accounts: defaultdict[str, Account] = defaultdict(Account)
_http = urllib3.PoolManager(retries=False)


class Dropped(Exception):
    """The connection ends without an answer."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    # Head and body in one packet: else each answer waits for the client's delayed acknowledgement.
    wbufsize = 65_536
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the log for what matters."""

    def do_GET(self) -> None:
        """Read something."""
        self._answer()

    def do_POST(self) -> None:
        """Change something."""
        self._answer()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length).decode()
        parts = urlsplit(self.path)
        params = _tree(parse_qsl(raw or parts.query, keep_blank_values=True))
        try:
            status, body = self._dispatch(parts.path, params)
        except Dropped:
            self.close_connection = True
            return
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Request-Id", f"req_{time.time_ns()}")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _dispatch(self, path: str, params: Json) -> tuple[int, Json]:
        key = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if path == "/":
            return 200, {}
        if key.startswith("pk_test_"):
            key = key.replace("pk_test_", "sk_test_", 1)
            if not path.endswith("/confirm") and path != "/v1/payment_methods":
                return 403, _error(
                    "invalid_request_error", "secret_key_required", "Use a secret key."
                )
        elif not key.startswith("sk_test_"):
            return 401, _error("invalid_request_error", "", "Invalid API Key provided.")
        account = _accounts[key]
        if path.startswith("/_control/"):
            return 200, control(account, path.removeprefix("/_control/"), params)
        if self.command == "GET":
            return self._read(account, path, params)
        return self._change(account, path, params)

    def _read(self, account: Account, path: str, params: Json) -> tuple[int, Json]:
        with account.lock:
            if path == "/v1/payment_intents/search":
                wanted = params.get("query", "").split(":'", 1)[-1].rstrip("'")
                found = [
                    _expanded(account.vault, intent, ["latest_charge.balance_transaction"])
                    for intent in account.vault.intents.values()
                    if intent["metadata"].get("florin_payment") == wanted
                ]
                return 200, {"object": "search_result", "data": found, "has_more": False}
            if path == "/v1/charges":
                data = list(account.vault.charges.values())
                return 200, copy.deepcopy({"object": "list", "data": data, "has_more": False})
            try:
                intent = _find(account.vault, path.split("/")[3])
            except Refused as refused:
                return refused.status, {"error": refused.error}
            return 200, _expanded(account.vault, intent, params.get("expand", []))

    def _change(self, account: Account, path: str, params: Json) -> tuple[int, Json]:
        key = self.headers.get("Idempotency-Key", "")
        fingerprint = json.dumps([path, params], sort_keys=True)
        with account.lock:
            if key in account.answers:
                stored, status, body = account.answers[key]
                if stored != fingerprint:
                    words = (
                        "Keys for idempotent requests can only be used with the same parameters."
                    )
                    return 400, _error("idempotency_error", "", words)
                return status, body
            if key in account.in_flight:
                words = "There is currently another in-progress request using this key."
                return 409, _error("idempotency_error", "idempotency_key_in_use", words)
            account.in_flight.add(key)
        try:
            status, body = self._execute(account, path, params)
            if key and status != 429:
                with account.lock:
                    account.answers[key] = (fingerprint, status, body)
        finally:
            account.in_flight.discard(key)
        deliver(account)
        late = account.take_fault(_FAULTS_AFTER[:2])
        if late == "hang_after_commit":
            time.sleep(HANG_SECONDS)
        if late:
            raise Dropped
        return status, body

    def _execute(self, account: Account, path: str, params: Json) -> tuple[int, Json]:
        fault = account.take_fault(_FAULTS_BEFORE)
        if fault == "hang_before_commit":
            time.sleep(HANG_SECONDS)
            raise Dropped
        if fault == "rate_limit":
            return 429, _error("invalid_request_error", "rate_limit", "Too many requests.")
        if fault == "fail_before_commit":
            return 500, _error("api_error", "", "An unknown error occurred.")
        with account.lock:
            try:
                body = verb(account, path, params)
            except Refused as refused:
                return refused.status, copy.deepcopy({"error": refused.error})
        if account.take_fault(_FAULTS_AFTER[2:]):
            return 500, _error("api_error", "", "An unknown error occurred.")
        wrong = account.take_fault(_WRONG_ANSWERS)
        if wrong == "amount_mismatch":
            body["amount"] += 1
        if wrong == "unknown_status":
            body["status"] = "requires_contemplation"
        return 200, body


def verb(account: Account, path: str, params: Json) -> Json:
    """Carry out one POST. Raises Refused."""
    vault = account.vault
    expand = params.pop("expand", [])
    if path == "/v1/payment_methods":
        number = params.get("card", {}).get("number", "")
        if number not in NUMBERS:
            raise Refused(402, "card_error", "incorrect_number", "Your card number is incorrect.")
        return {"id": NUMBERS[number], "object": "payment_method", "type": "card"}
    if path == "/v1/payment_intents":
        intent = vault.create(params)
        if params.get("confirm") == "true":
            vault.confirm(intent, params)
        return _expanded(vault, intent, expand)
    _, _, _, intent_id, name = path.split("/")
    intent = _find(vault, intent_id)
    secret = params.get("client_secret")
    if secret is not None and secret != intent["client_secret"]:
        raise Refused(
            400, "invalid_request_error", "payment_intent_invalid_parameter", "Bad secret."
        )
    getattr(vault, name)(intent, params)
    return _expanded(vault, intent, expand)


def control(account: Account, name: str, params: Json) -> Json:
    """The tests' side."""
    with account.lock:
        if name == "faults":
            account.faults.update({fault: int(count) for fault, count in params.items()})
        elif name == "authenticate":
            intent = account.vault.intents[params["payment_intent"]]
            try:
                account.vault.authenticate(intent, passed=params["passed"] == "true")
            except Refused:
                return {"declined": True}
        elif name == "bank_answers":
            account.vault.bank_answers(account.vault.intents[params["payment_intent"]])
        elif name == "settle":
            account.vault.settle()
        elif name == "webhook":
            account.webhooks.append((params["url"], params["secret"]))
        elif name == "events":
            return {"data": copy.deepcopy(account.vault.events)}
    deliver(account)
    return {}


def deliver(account: Account) -> None:
    """Send what is new to every webhook address, in a thread, tried a few times."""
    with account.lock:
        fresh = copy.deepcopy(account.vault.events[account.sent :])
        account.sent = len(account.vault.events)
        targets = list(account.webhooks)
    if fresh and targets:
        threading.Thread(target=_send, args=(fresh, targets), daemon=True).start()


def _send(events: list[Json], targets: list[tuple[str, str]]) -> None:
    for event in events:
        body = json.dumps(event, indent=2).encode()
        for url, secret in targets:
            for _ in range(5):
                stamp = int(time.time())
                mac = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256)
                headers = {
                    "Content-Type": "application/json; charset=utf-8",
                    "Stripe-Signature": f"t={stamp},v1={mac.hexdigest()},v0=0",
                }
                try:
                    answer = _http.request("POST", url, body=body, headers=headers, timeout=5.0)
                except urllib3.exceptions.HTTPError:
                    time.sleep(0.5)
                    continue
                if answer.status < 300:
                    break
                time.sleep(0.5)


def _find(vault: Vault, intent_id: str) -> Json:
    if intent_id not in vault.intents:
        words = f"No such payment_intent: '{intent_id}'"
        raise Refused(404, "invalid_request_error", "resource_missing", words, param="intent")
    return vault.intents[intent_id]


def _expanded(vault: Vault, intent: Json, expand: list[str]) -> Json:
    shown = copy.deepcopy(intent)
    if shown["latest_charge"] and any(path.startswith("latest_charge") for path in expand):
        shown["latest_charge"] = copy.deepcopy(vault.charges[shown["latest_charge"]])
        balance = shown["latest_charge"]["balance_transaction"]
        if balance and "latest_charge.balance_transaction" in expand:
            shown["latest_charge"]["balance_transaction"] = copy.deepcopy(vault.balances[balance])
    return shown


def _error(kind: str, code: str, message: str) -> Json:
    error = {"type": kind, "message": message}
    return {"error": {**error, "code": code} if code else error}


def _tree(pairs: list[tuple[str, str]]) -> Json:
    """`a[b]=1&c[0]=2` as {"a": {"b": "1"}, "c": ["2"]}."""
    result: Json = {}
    for name, value in pairs:
        head, *rest = name.replace("]", "").split("[")
        if not rest:
            result[head] = value
        elif rest[0].isdecimal() or not rest[0]:
            result.setdefault(head, []).append(value)
        else:
            result.setdefault(head, {})[rest[0]] = value
    return result
