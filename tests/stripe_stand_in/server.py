"""The stand-in's HTTP: keys, idempotency, faults and webhooks.

`POST /_control/...` with the secret key is the tests' side: `faults` (names with counts),
`webhook`, and everything in tests.stripe_stand_in.control.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import re
import threading
import time
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import urllib3

from tests.stripe_stand_in import routes
from tests.stripe_stand_in.control import CONTROLS
from tests.stripe_stand_in.vault import Json, Refused, Vault

HANG_SECONDS = 3.0
_FAULTS_BEFORE = ("hang_before_commit", "fail_before_commit", "rate_limit")
_FAULTS_AFTER = ("hang_after_commit", "drop_after_commit", "fail_after_commit")
_LIST_FAULTS = ("fail_event_lists", "hang_event_lists")
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
        raw = self.rfile.read(length)
        parts = urlsplit(self.path)
        content_type = self.headers.get("Content-Type", "")
        if content_type.startswith("multipart/form-data"):
            params = _multipart(content_type, raw)
        else:
            params = _tree(parse_qsl(raw.decode() or parts.query, keep_blank_values=True))
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
            if not path.endswith(routes.BROWSER):
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
        if path == "/v1/events":
            fault = account.take_fault(_LIST_FAULTS)
            if fault == "hang_event_lists":
                time.sleep(HANG_SECONDS)
                raise Dropped
            if fault:
                return 500, _error("api_error", "", "An unknown error occurred.")
        with account.lock:
            try:
                return 200, copy.deepcopy(routes.read(account.vault, path, params))
            except Refused as refused:
                return refused.status, {"error": copy.deepcopy(refused.error)}

    def _change(self, account: Account, path: str, params: Json) -> tuple[int, Json]:
        key = self.headers.get("Idempotency-Key", "")
        fingerprint = json.dumps([path, params], sort_keys=True, default=repr)
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
                body = copy.deepcopy(routes.change(account.vault, path, params))
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


def control(account: Account, name: str, params: Json) -> Json:
    """The tests' side."""
    answer: Json = {}
    with account.lock:
        if name == "faults":
            armed = {fault: int(count) for fault, count in params.items()}
            account.faults.update(armed)
            account.vault.quirks.update(armed)
        elif name == "webhook":
            account.webhooks.append((params["url"], params["secret"]))
        else:
            answer = copy.deepcopy(CONTROLS[name](account.vault, params))
    deliver(account)
    return answer


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


def _error(kind: str, code: str, message: str) -> Json:
    error = {"type": kind, "message": message}
    return {"error": {**error, "code": code} if code else error}


def _multipart(content_type: str, raw: bytes) -> Json:
    """The parts by name; a file's bytes, and its name beside."""
    boundary = content_type.partition("boundary=")[2].encode()
    result: Json = {}
    for part in raw.split(b"--" + boundary)[1:-1]:
        head, _, content = part.removesuffix(b"\r\n").partition(b"\r\n\r\n")
        told = dict(re.findall(r'(\w+)="([^"]*)"', head.decode()))
        if "filename" in told:
            result |= {told["name"]: content, "_filename": told["filename"]}
        else:
            result[told["name"]] = content.decode()
    return result


def _tree(pairs: list[tuple[str, str]]) -> Json:
    """`a[b][c]=1&d[0]=2` as {"a": {"b": {"c": "1"}}, "d": ["2"]}."""
    result: Json = {}
    for name, value in pairs:
        *path, last = name.replace("]", "").split("[")
        level = result
        for part in path:
            level = level.setdefault(part, {})
        level[last or str(len(level))] = value
    return {name: _lists(value) for name, value in result.items()}


def _lists(value: Any) -> Any:
    """Members that are numbered are a list."""
    if not isinstance(value, dict):
        return value
    members = {name: _lists(one) for name, one in value.items()}
    return list(members.values()) if all(name.isdecimal() for name in members) else members
