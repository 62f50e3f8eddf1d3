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

from payments.providers.sandbox.service import (
    control,
    faults,
    merchant_side,
    money_side,
    payer_side,
    staging,
)
from payments.providers.sandbox.service.accounts import Account, Accounts
from payments.providers.sandbox.service.books import Books
from payments.providers.sandbox.service.clock import Clock
from payments.providers.sandbox.service.delivery import Deliveries
from payments.providers.sandbox.service.desk import Declined, Desk, reason_of
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

Verb = Callable[[Desk], Mapping[str, Any] | Declined]


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
            *merchant_side.routes(self),
            *money_side.routes(self),
            *payer_side.routes(self),
            *staging.routes(self),
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

    def _health(self, request: Request) -> Response:
        self.books.row("SELECT 1")
        return Response(status=200, body={"status": "ok", "service": "florin-sandbox"})

    # --- who is calling, and what about -----------------------------------------------------

    def secret_account(self, request: Request) -> Account:
        """The account of the secret key. Raises Refusal 401."""
        return self.accounts.with_secret_key(request.bearer)

    def reading_account(self, request: Request) -> Account:
        """The account of the secret key, for a look-up, after the faults of look-ups.

        Raises Refusal 401, and what the account's chaos switches make of it.
        """
        account = self.secret_account(request)
        faults.refuse_at_the_door(self.accounts, account)
        faults.for_read(self.accounts, account).before_commit()
        return account

    def payer_payment(self, request: Request, payment_id: str) -> tuple[Account, dict[str, Any]]:
        """Account and payment of a payer who has the publishable key and the client secret."""
        account = self.accounts.with_publishable_key(request.bearer)
        return account, self.with_client_secret(request, account, payment_id)

    def with_client_secret(
        self, request: Request, account: Account, payment_id: str
    ) -> dict[str, Any]:
        """The payment, for whoever knows its client secret. Raises Refusal 404."""
        given = str(request.body.get("client_secret") or request.query.get("client_secret", ""))
        payment = self.books.load_payment(account.id, payment_id)
        if payment is None or not hmac.compare_digest(
            payment["client_secret"].encode(), given.encode(errors="replace")
        ):
            message = "No payment has this id and this client secret."
            raise Refusal(404, "invalid_request", "not_found", message, param="client_secret")
        return payment

    def load(self, account: Account, payment_id: str) -> dict[str, Any]:
        """A payment of the account. Raises Refusal 404."""
        payment = self.books.load_payment(account.id, payment_id)
        if payment is None:
            message = f"There is no payment {payment_id}."
            raise Refusal(404, "invalid_request", "not_found", message, param="payment")
        return payment

    def load_of_part(self, account: Account, kind: str, part_id: str) -> dict[str, Any]:
        """The payment that a capture, refund or dispute belongs to. Raises Refusal 404."""
        payment = self.books.payment_of_part(account.id, kind, part_id)
        if payment is None:
            message = f"There is no {kind} {part_id}."
            raise Refusal(404, "invalid_request", "not_found", message, param=kind)
        return payment

    def desk(self, account: Account, base_url: str = "") -> Desk:
        """Where changes of the account are worked on."""
        return Desk(
            books=self.books,
            accounts=self.accounts,
            account=account,
            deliveries=self.deliveries,
            base_url=base_url,
        )

    # --- a change, once per key -------------------------------------------------------------

    def change(
        self,
        request: Request,
        account: Account,
        verb: Verb,
        token: str = "",
        *,
        shown: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    ) -> Response:
        """Carry out one change with its faults, its stored answer and its idempotency key."""
        faults.refuse_at_the_door(self.accounts, account)
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
            desk = self.desk(account, request.base_url)
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
                done = verb(desk)
        except Refusal as refusal:
            return refusal.response
        if isinstance(done, Declined):
            return _declined(done.code, shown(done.payment), done.part)
        document = shown(done)
        if document["object"] == "payment" and document["status"] == "declined":
            return _declined(document["decline"]["code"], document)
        return Response(status=200, body=document)

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


def _declined(
    code: str, payment: Mapping[str, Any], part: Mapping[str, Any] | None = None
) -> Response:
    reason = reason_of(code)
    extra: dict[str, Any] = {"advice": reason["advice"], "payment": payment}
    if part is not None:
        extra[part["object"]] = part
    body = error_body("declined", code, reason["message"], "token", extra)
    return Response(status=402, body=body)


class _Dying:
    """A body whose first piece never comes: the server closes the connection."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        raise ConnectionAbortedError("Connection dropped on purpose.")

    def close(self) -> None:
        """What a WSGI server calls at the end."""
