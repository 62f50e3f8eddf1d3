"""The parts of the sandbox PSP beside payments: the account, webhook endpoints, events, the
record of money movements, and the controls that tests turn (`/v1/control/...`).
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from payments.providers.sandbox.service import faults
from payments.providers.sandbox.service.accounts import Account
from payments.providers.sandbox.service.desk import moment, new_id
from payments.providers.sandbox.service.knobs import KNOBS
from payments.providers.sandbox.service.wire import Refusal, Request, Response, page_of

if TYPE_CHECKING:
    from payments.providers.sandbox.service.application import Sandbox

_LONGEST_ADVANCE_SECONDS = 10 * 366 * 86_400
# Greater than the number of any event.
_BEYOND = 2**62
# Later than any time.
_FOR_EVER = "9999"


def routes(sandbox: Sandbox) -> list[tuple[str, str, Callable[..., Response]]]:
    """This module's part of the route table."""
    controls = Controls(sandbox)
    return [
        ("GET", r"/v1/account", controls.show_account),
        ("POST", r"/v1/webhook_endpoints", controls.add_endpoint),
        ("GET", r"/v1/webhook_endpoints", controls.list_endpoints),
        ("DELETE", r"/v1/webhook_endpoints/(?P<endpoint>\w{1,64})", controls.remove_endpoint),
        ("GET", r"/v1/events", controls.list_events),
        ("POST", r"/v1/events/(?P<event>\w{1,64})/resend", controls.resend_event),
        ("GET", r"/v1/movements", controls.list_movements),
        ("GET", r"/v1/control/settings", controls.show_settings),
        ("POST", r"/v1/control/settings", controls.change_settings),
        ("POST", r"/v1/control/clock", controls.move_clock),
        ("GET", r"/v1/control/deliveries", controls.list_deliveries),
    ]


class Controls:
    """Handlers over one sandbox; each begins with the secret key."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._books = sandbox.books

    def show_account(self, request: Request) -> Response:
        """The account of the key: its id, its publishable key, its time."""
        account = self._sandbox.secret_account(request)
        body = {
            "object": "account",
            "id": account.id,
            "publishable_key": account.publishable_key,
            "now": moment(account.now()),
        }
        return Response(status=200, body=body)

    def add_endpoint(self, request: Request) -> Response:
        """Register a webhook address; the same address again replaces its secret and types."""
        account = self._sandbox.secret_account(request)
        url = str(request.body.get("url", ""))
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise _invalid("url", "url must be an http or https address.")
        events = request.body.get("events", ["*"])
        if not isinstance(events, list) or not all(isinstance(name, str) for name in events):
            raise _invalid("events", "events must be a list of event types.")
        secret = _webhook_secret(request.body.get("secret"))
        with self._books.transaction():
            self._books.run(
                "INSERT INTO endpoints (id, account, url, secret, events) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (account, url) DO UPDATE"
                " SET secret = excluded.secret, events = excluded.events",
                new_id("sbw"),
                account.id,
                url,
                secret,
                json.dumps(events),
            )
            row = self._books.row(
                "SELECT id FROM endpoints WHERE account = ? AND url = ?", account.id, url
            )
        if row is None:
            raise LookupError("Bug! The endpoint that was just written is not there.")
        body = {"object": "webhook_endpoint", "id": row["id"], "url": url, "events": events}
        return Response(status=200, body={**body, "secret": secret})

    def list_endpoints(self, request: Request) -> Response:
        """The account's webhook addresses, without their secrets."""
        account = self._sandbox.secret_account(request)
        rows = self._books.rows(
            "SELECT id, url, events FROM endpoints WHERE account = ? ORDER BY id", account.id
        )
        return _list([{**dict(row), "events": json.loads(row["events"])} for row in rows])

    def remove_endpoint(self, request: Request, endpoint: str) -> Response:
        """Stop delivering to an address; what still waits for it is dropped."""
        account = self._sandbox.secret_account(request)
        self._books.run("DELETE FROM endpoints WHERE account = ? AND id = ?", account.id, endpoint)
        return Response(status=200, body={"object": "webhook_endpoint", "id": endpoint})

    def list_events(self, request: Request) -> Response:
        """Events in the order they happened; `payment`, `since` (a time), `after` (a seq) and
        `limit` narrow it. With `since` it is what merchants compare their webhooks with, and the
        chaos switches touch it.
        """
        account = self._sandbox.secret_account(request)
        payment, (after, limit) = request.query.get("payment", ""), page_of(request)
        visible_until = _FOR_EVER
        if "since" in request.query:
            after = max(after, self._seq_before(account, _time(request.query["since"])))
            visible_until = moment(account.now() - account.get("event_list_lag_seconds"))
            faults.refuse_at_the_door(self._sandbox.accounts, account)
            faults.for_event_list(self._sandbox.accounts, account).before_commit()
        rows = self._books.rows(
            "SELECT seq, body FROM events WHERE account = ? AND seq > ?"
            " AND (? = '' OR payment = ?) AND json_extract(body, '$.created_at') <= ?"
            " ORDER BY seq LIMIT ?",
            account.id,
            after,
            payment,
            payment,
            visible_until,
            limit + 1,
        )
        data = [{**json.loads(row["body"]), "seq": row["seq"]} for row in rows[:limit]]
        body = {"object": "list", "data": data, "has_more": len(rows) > limit}
        return Response(status=200, body=body)

    def _seq_before(self, account: Account, since: float) -> int:
        """The number before the first of the events that were made at or after a time."""
        found = self._books.row(
            "SELECT min(seq) AS first FROM events"
            " WHERE account = ? AND json_extract(body, '$.created_at') >= ?",
            account.id,
            moment(since),
        )
        first = found["first"] if found else None
        return _BEYOND if first is None else int(first) - 1

    def resend_event(self, request: Request, event: str) -> Response:
        """Deliver an event once more."""
        account = self._sandbox.secret_account(request)
        row = self._books.row(
            "SELECT * FROM events WHERE account = ? AND id = ?", account.id, event
        )
        if row is None:
            message = f"There is no event {event}."
            raise Refusal(404, "invalid_request", "not_found", message, param="event")
        return Response(
            status=200, body={"deliveries": self._sandbox.deliveries.resend(row, account)}
        )

    def list_movements(self, request: Request) -> Response:
        """What really happened to money, by `payment`, by `reference`, or all of it in pages."""
        account, (after, limit) = self._sandbox.secret_account(request), page_of(request)
        found = self._books.movements(
            account.id,
            payment=request.query.get("payment", ""),
            reference=request.query.get("reference", ""),
            after=after,
            limit=limit,
        )
        return _list(list(found))

    def show_settings(self, request: Request) -> Response:
        """Every knob as it stands."""
        return _settings(self._sandbox.secret_account(request))

    def change_settings(self, request: Request) -> Response:
        """Turn knobs; null puts one back to its default."""
        account = self._sandbox.secret_account(request)
        self._sandbox.accounts.change(account, dict(request.body))
        return _settings(account)

    def move_clock(self, request: Request) -> Response:
        """Put the account's clock forward; what falls due happens before the answer."""
        account = self._sandbox.secret_account(request)
        seconds = request.body.get("advance_seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise _invalid("advance_seconds", "advance_seconds must be a number.")
        if not 0 <= seconds <= _LONGEST_ADVANCE_SECONDS:
            raise _invalid("advance_seconds", "The clock goes forward, ten years at most.")
        done = self._sandbox.clock.advance(account, float(seconds))
        return Response(status=200, body={"now": moment(account.now()), "jobs_done": done})

    def list_deliveries(self, request: Request) -> Response:
        """How each webhook delivery of the account stands."""
        account, (after, limit) = self._sandbox.secret_account(request), page_of(request)
        rows = self._books.rows(
            "SELECT d.id AS seq, e.id AS event, e.type, e.payment, d.state, d.attempts,"
            " d.last_answer FROM deliveries d JOIN events e ON e.seq = d.event_seq"
            " WHERE e.account = ? AND d.id > ? ORDER BY d.id LIMIT ?",
            account.id,
            after,
            limit,
        )
        return _list([dict(row) for row in rows])


def _settings(account: Account) -> Response:
    body: dict[str, Any] = {name: account.get(name) for name in KNOBS}
    return Response(status=200, body=body)


def _time(value: str) -> float:
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise _invalid("since", "since must be a time with its zone, in RFC 3339.")
    return at.timestamp()


def _webhook_secret(given: Any) -> str:
    if given is None:
        return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    try:
        key = base64.b64decode(str(given).removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not str(given).startswith("whsec_") or not 24 <= len(key) <= 64:
        raise _invalid("secret", "secret must be whsec_ and 24 to 64 bytes in base64.")
    return str(given)


def _list(data: list[dict[str, Any]]) -> Response:
    return Response(status=200, body={"object": "list", "data": data})


def _invalid(param: str, message: str) -> Refusal:
    return Refusal(400, "invalid_request", "invalid", message, param=param)
