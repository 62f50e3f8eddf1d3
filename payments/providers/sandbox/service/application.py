"""The sandbox PSP's HTTP interface: a route table, three kinds of caller, idempotency keys.

Callers: the merchant's server with the secret key; the payer's browser with the publishable key
and a payment's client secret (CORS, never numbers except to `POST /v1/tokens`); and a test with
the secret key at `/v1/control/...`. A change runs in one transaction together with its stored
answer, so a key answers the same after a restart. An answer is stored for every request that got
as far as being carried out, refusals included, and never for a 5xx.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from payments.providers.sandbox.service import control, faults, lifecycle, payer_page
from payments.providers.sandbox.service.accounts import Account, Accounts
from payments.providers.sandbox.service.books import Books
from payments.providers.sandbox.service.clock import Clock
from payments.providers.sandbox.service.delivery import Deliveries
from payments.providers.sandbox.service.instruments import BY_NUMBER
from payments.providers.sandbox.service.lifecycle import Desk
from payments.providers.sandbox.service.orders import read_cancel, read_capture, read_order
from payments.providers.sandbox.service.wire import (
    Refusal,
    Request,
    Response,
    error_body,
    fingerprint_source,
)

logger = logging.getLogger("sandbox")

_CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
    ("Access-Control-Allow-Headers", "authorization, content-type, idempotency-key"),
    ("Access-Control-Max-Age", "600"),
)
_PAYMENT = r"/v1/payments/(?P<payment>[A-Za-z0-9_]{1,64})"
_HIDDEN_FROM_PAYER = ("fee_minor", "fee_currency", "settled", "available_at", "token")

Verb = Callable[[Desk], Mapping[str, Any]]


class Sandbox:
    """The whole service over one data folder; call it as a WSGI application."""

    def __init__(self, folder: Path) -> None:
        self.books = Books(folder)
        self.accounts = Accounts(self.books)
        self.deliveries = Deliveries(self.books, self.accounts)
        self.clock = Clock(self.books, self.accounts, self.deliveries)
        self._in_flight: set[tuple[str, str]] = set()
        table: list[tuple[str, str, Callable[..., Response]]] = [
            ("GET", r"/(healthz)?", self._health),
            ("POST", r"/v1/payments", self._create),
            ("GET", r"/v1/payments", self._search),
            ("GET", _PAYMENT, self._fetch),
            ("POST", _PAYMENT + r"/confirm", self._confirm),
            ("POST", _PAYMENT + r"/capture", self._capture),
            ("POST", _PAYMENT + r"/cancel", self._cancel),
            ("GET", _PAYMENT + r"/authentication", self._payer_page),
            ("POST", _PAYMENT + r"/authentication", self._authenticate),
            ("POST", r"/v1/tokens", self._tokenise),
            *control.routes(self),
        ]
        self._routes = [(method, re.compile(path), handler) for method, path, handler in table]

    def start(self) -> None:
        """Start the background threads: webhooks and the clock."""
        self.deliveries.start()
        self.clock.start()

    def __call__(
        self, environ: Mapping[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """WSGI entry."""
        response = self.respond(environ)
        payload = b"" if response.dropped else response.payload()
        headers = [("Content-Type", response.content_type), *response.headers, *_CORS]
        status = f"{response.status} {HTTPStatus(response.status).phrase}"
        if response.dropped:
            start_response(status, [("Content-Length", "1000")])
            return _Dying()
        start_response(status, [*headers, ("Content-Length", str(len(payload)))])
        return [payload]

    def respond(self, environ: Mapping[str, Any]) -> Response:
        """Answer one request; every exception becomes an answer here."""
        try:
            request = Request.read(environ)
            if request.method == "OPTIONS":
                return Response(status=204)
            return self._route(request)
        except Refusal as refusal:
            return refusal.response
        except faults.Lost as lost:
            return lost.response
        except Exception:
            logger.exception("The sandbox has a bug.")
            body = error_body("api", "internal_error", "The sandbox has a bug; see its log.")
            return Response(status=500, body=body)

    def _route(self, request: Request) -> Response:
        allowed = []
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(request.path)
            if match and method == request.method:
                return handler(request, **match.groupdict())
            if match:
                allowed.append(method)
        if allowed:
            message = f"Use {' or '.join(allowed)} here."
            raise Refusal(405, "invalid_request", "method_not_allowed", message)
        raise Refusal(404, "invalid_request", "not_found", "There is nothing at this address.")

    # --- who is calling ---------------------------------------------------------------------

    def secret_account(self, request: Request) -> Account:
        """The account of the secret key. Raises Refusal 401."""
        return self.accounts.with_secret_key(_bearer(request))

    def _payer_payment(self, request: Request, payment_id: str) -> tuple[Account, dict[str, Any]]:
        """Account and payment of a payer who has the publishable key and the client secret."""
        account = self.accounts.with_publishable_key(_bearer(request))
        return account, self._with_client_secret(request, account, payment_id)

    def _with_client_secret(
        self, request: Request, account: Account, payment_id: str
    ) -> dict[str, Any]:
        given = str(request.body.get("client_secret") or request.query.get("client_secret", ""))
        payment = self.books.load_payment(account.id, payment_id)
        if payment is None or not hmac.compare_digest(
            payment["client_secret"].encode(), given.encode(errors="replace")
        ):
            message = "No payment has this id and this client secret."
            raise Refusal(404, "invalid_request", "not_found", message, param="client_secret")
        return payment

    def _load(self, account: Account, payment_id: str) -> dict[str, Any]:
        payment = self.books.load_payment(account.id, payment_id)
        if payment is None:
            message = f"There is no payment {payment_id}."
            raise Refusal(404, "invalid_request", "not_found", message, param="payment")
        return payment

    # --- the merchant's side ----------------------------------------------------------------

    def _health(self, request: Request) -> Response:
        self.books.row("SELECT 1")
        return Response(status=200, body={"status": "ok", "service": "florin-sandbox"})

    def _create(self, request: Request) -> Response:
        account = self.secret_account(request)
        order = read_order(request.body)

        def verb(desk: Desk) -> Mapping[str, Any]:
            payment = lifecycle.create(desk, order)
            if order["confirm"]:
                lifecycle.confirm(desk, payment)
            return payment

        return self._change(request, account, verb, order["token"] if order["confirm"] else "")

    def _confirm(self, request: Request, payment: str) -> Response:
        by_payer = _bearer(request).startswith("sbx_pk_")
        if by_payer:
            account, known = self._payer_payment(request, payment)
        else:
            account = self.secret_account(request)
            known = self._load(account, payment)
        token, return_url = _confirmation(request)

        def verb(desk: Desk) -> Mapping[str, Any]:
            found = self._load(account, payment)
            return lifecycle.confirm(desk, found, token=token, return_url=return_url)

        shown = _for_payer if by_payer else dict
        return self._change(request, account, verb, token or known["token"] or "", shown=shown)

    def _capture(self, request: Request, payment: str) -> Response:
        account = self.secret_account(request)
        amount_minor = read_capture(request.body)

        def verb(desk: Desk) -> Mapping[str, Any]:
            return lifecycle.capture(desk, self._load(account, payment), amount_minor)

        return self._change(request, account, verb)

    def _cancel(self, request: Request, payment: str) -> Response:
        account = self.secret_account(request)
        reason = read_cancel(request.body)

        def verb(desk: Desk) -> Mapping[str, Any]:
            return lifecycle.cancel(desk, self._load(account, payment), reason)

        return self._change(request, account, verb)

    def _fetch(self, request: Request, payment: str) -> Response:
        if _bearer(request).startswith("sbx_pk_"):
            _, found = self._payer_payment(request, payment)
            return Response(status=200, body=_for_payer(found))
        account = self.secret_account(request)
        faults.refuse_in_outage(account)
        faults.for_read(self.accounts, account).before_commit()
        return Response(status=200, body=self._load(account, payment))

    def _search(self, request: Request) -> Response:
        account = self.secret_account(request)
        faults.refuse_in_outage(account)
        faults.for_read(self.accounts, account).before_commit()
        reference = request.query.get("reference", "")
        if not reference:
            message = "Search by `reference`."
            raise Refusal(400, "invalid_request", "missing", message, param="reference")
        found = self.books.payments_by_reference(account.id, reference)
        return Response(status=200, body={"object": "list", "data": found})

    # --- the payer's side -------------------------------------------------------------------

    def _authenticate(self, request: Request, payment: str) -> Response:
        """The 3-D Secure step ends; by the payer (a form, or keys) or by a test."""
        if _bearer(request).startswith("sbx_sk_"):
            account = self.secret_account(request)
        elif request.authorization:
            account, _ = self._payer_payment(request, payment)
        else:
            account = self._account_of(payment)
            self._with_client_secret(request, account, payment)
        result = request.body.get("result")
        if result not in {"succeed", "fail"}:
            message = "result must be succeed or fail."
            raise Refusal(400, "invalid_request", "invalid", message, param="result")

        def verb(desk: Desk) -> Mapping[str, Any]:
            found = self._load(account, payment)
            return lifecycle.authenticate(desk, found, passed=result == "succeed")

        response = self._change(request, account, verb, shown=_for_payer)
        if not request.authorization:
            return payer_page.done(self._load(account, payment))
        return response

    def _payer_page(self, request: Request, payment: str) -> Response:
        account = self._account_of(payment)
        return payer_page.challenge(self._with_client_secret(request, account, payment))

    def _account_of(self, payment_id: str) -> Account:
        row = self.books.row("SELECT account FROM payments WHERE id = ?", payment_id)
        if row is None:
            raise Refusal(404, "invalid_request", "not_found", "There is no such payment.")
        return self.accounts.by_id(row["account"])

    def _tokenise(self, request: Request) -> Response:
        """A test number becomes its token; the number is not kept."""
        self.accounts.with_publishable_key(_bearer(request))
        number = str(request.body.get("number", "")).replace(" ", "")
        instrument = BY_NUMBER.get(number)
        if instrument is None:
            message = "Only the test numbers of the sandbox have tokens."
            raise Refusal(402, "declined", "number_unknown", message, param="number")
        body = {
            "object": "token",
            "id": instrument.name,
            "kind": instrument.kind,
            "brand": instrument.brand,
            "last4": instrument.last4,
        }
        return Response(status=200, body=body)

    # --- a change, once per key -------------------------------------------------------------

    def _change(
        self,
        request: Request,
        account: Account,
        verb: Verb,
        token: str = "",
        *,
        shown: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    ) -> Response:
        """Carry out one change with its faults, its stored answer and its idempotency key."""
        faults.refuse_in_outage(account)
        key, fingerprint = request.idempotency_key, ""
        if key:
            fingerprint = hashlib.sha256(fingerprint_source(request)).hexdigest()
            if (replay := self._claim_key(account, key, fingerprint)) is not None:
                return replay
        try:
            fault = faults.for_change(
                self.books, self.accounts, account, token=token, idempotency_key=key
            )
            fault.before_commit()
            desk = Desk(self.books, account, self.deliveries, request.base_url)
            with self.books.transaction():
                response = self._carry_out(desk, verb, shown)
                if key:
                    self.books.run(
                        "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)",
                        account.id,
                        key,
                        fingerprint,
                        response.status,
                        json.dumps(response.body, separators=(",", ":")),
                        account.now(),
                    )
        finally:
            self._in_flight.discard((account.id, key))
        self.deliveries.wake()
        return fault.after_commit(response)

    def _carry_out(
        self,
        desk: Desk,
        verb: Verb,
        shown: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    ) -> Response:
        try:
            with self.books.savepoint():
                payment = shown(verb(desk))
        except Refusal as refusal:
            return refusal.response
        if payment["status"] == "declined":
            decline = payment["decline"]
            extra = {"advice": decline["advice"], "payment": payment}
            body = error_body("declined", decline["code"], decline["message"], "token", extra)
            return Response(status=402, body=body)
        return Response(status=200, body=payment)

    def _claim_key(self, account: Account, key: str, fingerprint: str) -> Response | None:
        """The stored answer of the key, or None and the key is ours to work with.

        Raises Refusal 422 for another request under the key and 409 while one is under way.
        """
        if len(key) > 255:
            message = "An idempotency key has at most 255 characters."
            raise Refusal(400, "idempotency", "idempotency_key_too_long", message)
        with self.books.lock:
            stored = self.books.row(
                "SELECT fingerprint, status, body FROM answers"
                " WHERE account = ? AND idempotency_key = ?",
                account.id,
                key,
            )
            if stored and stored["fingerprint"] != fingerprint:
                message = "This idempotency key was used with another request."
                raise Refusal(422, "idempotency", "idempotency_key_reused", message)
            if stored:
                replayed = (("Idempotent-Replayed", "true"),)
                raw = stored["body"].encode()
                return Response(status=stored["status"], raw=raw, headers=replayed)
            if (account.id, key) in self._in_flight:
                message = "A request with this idempotency key is under way; ask again soon."
                raise Refusal(409, "idempotency", "idempotency_key_in_use", message)
            self._in_flight.add((account.id, key))
        return None


def _bearer(request: Request) -> str:
    scheme, _, key = request.authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _confirmation(request: Request) -> tuple[str, str]:
    token, return_url = request.body.get("token", ""), request.body.get("return_url", "")
    if not isinstance(token, str) or not isinstance(return_url, str):
        message = "token and return_url must be strings."
        raise Refusal(400, "invalid_request", "invalid", message, param="token")
    return token, return_url


def _for_payer(payment: Mapping[str, Any]) -> dict[str, Any]:
    """What the payer's browser may see of a payment."""
    return {name: value for name, value in payment.items() if name not in _HIDDEN_FROM_PAYER}


class _Dying:
    """A body whose first piece never comes: the server closes the connection."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        raise ConnectionAbortedError("Connection dropped on purpose.")

    def close(self) -> None:
        """What a WSGI server calls at the end."""
