"""One operation at Stripe: its requests through the SDK, in one deadline, and how they ended.

Every operation names its key, API base, version, idempotency key and deadline; nothing is taken
from the SDK's globals and the SDK never retries. How an answer ends an operation:

    2xx                         the object, for the operation to read
    402, other 400, 404         `Refused`: a definitive no, nothing was done
    401 403 429                 NOT_SENT: refused before Stripe looks at the idempotency key
    409 idempotency_key_in_use  UNKNOWN with `idempotency_conflict`
    400 idempotency_error       UNKNOWN: the key was used with other parameters
    5xx, unreadable, none       UNKNOWN. Stripe stores a 500 under its key and replays it, so only
                                a fetch can tell

An operation of several requests (a customer is made, then a payment method attached to it) gives
each a key of its own, derived from the one it was given: sent again as a whole, each step is
answered as it was. See docs.stripe.com/api/idempotent_requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import stripe
from django.conf import settings

from payments.providers import fields
from payments.providers.base import Credentials, Exchange, Outcome, ProviderError, Result
from payments.providers.bulkhead import account_key
from payments.providers.fields import UnreadableObject
from payments.providers.refusals import refusal
from payments.providers.strict_json import read_object
from payments.providers.stripe.amounts import AmountNotExpressible
from payments.providers.stripe.connection import OneCall
from payments.providers.stripe.errors import translate
from payments.providers.transport import MAXIMUM_ANSWER_BYTES, NotSent

CODE = "stripe"

# The version whose shapes this package reads. Raising it is a change to be tested.
API_VERSION = "2026-10-28.endive"

# Stripe takes files at another host than everything else (docs.stripe.com/file-upload).
_API_HOST, _FILES_BASE = "api.stripe.com", "https://files.stripe.com"

# Objects of a list that one request asks for, and the requests that one reading may take.
LIST_LIMIT, MOST_PAGES = 100, 10

# What may be written into the audit trail of a request or an answer.
_SHOWN = frozenset(
    {
        "id", "object", "status", "amount", "amount_capturable", "amount_received", "currency",
        "capture_method", "confirm", "metadata", "payment_method", "latest_charge",
        "cancellation_reason", "amount_to_capture", "created", "livemode", "query", "balance",
        "final_capture", "payment_intent", "charge", "reason", "failure_reason", "customer",
        "off_session", "usage", "type", "mandate", "purpose", "submit", "payout", "source",
        "evidence", "review", "balance_transaction", "failure_balance_transaction", "has_more",
    }
)  # fmt: skip

# A request: the SDK's services, the parameters and the options it is sent with.
Request = Callable[[Any, Any, Any], object]


class Ended(Exception):
    """The operation is over without an answer that could be read on."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.outcome)
        self.result = result


class Refused(Exception):
    """Stripe's definitive no to one request. `missing`: to one about what it does not have."""

    def __init__(self, error: Mapping[str, Any], exchange: Exchange) -> None:
        super().__init__(str(error.get("message")))
        self.missing = exchange.http_status == 404
        self.error = error
        self.exchange = exchange
        self.translated = translate(error)


class Call:
    """One operation under way; see the module docstring."""

    def __init__(
        self,
        operation: str,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
        *,
        maximum_bytes: int = MAXIMUM_ANSWER_BYTES,
    ) -> None:
        self.operation = operation
        self._key = idempotency_key
        base = (credentials.api_base or settings.FLORIN_STRIPE_API_BASE).rstrip("/")
        self._wire = OneCall(
            timeout_seconds=timeout_seconds,
            account_key=account_key(CODE, base, credentials.secret_key),
            maximum_bytes=maximum_bytes,
        )
        self._services = stripe.StripeClient(
            credentials.secret_key,
            base_addresses={"api": base, "files": files_base(base)},
            stripe_version=API_VERSION,
            max_network_retries=0,
            http_client=self._wire,
        ).v1
        self._params: Mapping[str, Any] = {}
        self._main: Exchange | None = None

    def run(self, steps: Callable[[], Result]) -> Result:
        """Carry the operation out and say how it ended; never raises for anything Stripe does."""
        try:
            return steps()
        except Ended as ended:
            return ended.result
        except Refused as refused:
            return self.declined(refused)
        except AmountNotExpressible as error:
            # The amount has no number at Stripe: a definitive no, without asking.
            no_number = refusal("provider_amount_refused", str(error), param="amount_minor")
            return Result(outcome=Outcome.DECLINED, exchange=self._exchange({}), error=no_number)
        except UnreadableObject as error:
            return self._unreadable(str(error))

    def post(self, request: Request, params: Mapping[str, Any], *, step: str = "") -> Any:
        """Change something; the object as Stripe answered it. `step` names a request beside the
        operation's main one. Raises Ended, Refused.
        """
        options: dict[str, Any] = {"max_network_retries": 0}
        if self._key:
            options["idempotency_key"] = f"{self._key}:{step}" if step else self._key
        return self._send(request, params, options, step)

    def get(self, request: Request, params: Mapping[str, Any], *, step: str = "") -> Any:
        """Read something. Raises Ended, Refused."""
        return self._send(request, params, {"max_network_retries": 0}, step)

    def get_all(
        self,
        request: Request,
        params: Mapping[str, Any],
        *,
        step: str,
        limit: int = LIST_LIMIT,
        first_page: Mapping[str, Any] | None = None,
    ) -> list[Mapping[str, Any]]:
        """Every object of a list, over at most MOST_PAGES requests. `first_page` is the list's
        beginning where an answer already carried it.

        Raises Ended, Refused; UnreadableObject for a list that does not end.
        """
        found: list[Mapping[str, Any]] = []
        page = first_page
        for _ in range(MOST_PAGES):
            if page is None:
                more = {"starting_after": fields.required_text(found[-1], "id")} if found else {}
                page = self.get(request, {**params, "limit": limit, **more}, step=step)
            fresh = objects_of(page)
            found += fresh
            if not fresh or page.get("has_more") is not True:
                return found
            page = None
        raise UnreadableObject(f"the list of {step} has more than {MOST_PAGES} pages")

    def result(self, outcome: Outcome, **members: Any) -> Result:
        """The operation's end, with what went over the wire in its main request."""
        exchange = self._main or self._exchange({})
        exchange = replace(exchange, duration_ms=self._wire.duration_ms)
        return Result(outcome=outcome, exchange=exchange, **members)

    def declined(self, refused: Refused, **members: Any) -> Result:
        """A definitive no."""
        missing = self.operation == "fetch" and refused.translated.code == "provider_not_found"
        return Result(
            outcome=Outcome.DECLINED,
            exchange=refused.exchange,
            error=refused.translated,
            not_found=missing,
            **members,
        )

    def _send(
        self, request: Request, params: Mapping[str, Any], options: dict[str, Any], step: str
    ) -> Mapping[str, Any]:
        self._wire.begin()
        self._params = params
        try:
            request(self._services, dict(params), options)
        except stripe.StripeError as error:
            # The SDK has sorted the answer; what it was is read below from the wire itself.
            if self._wire.answer is None and self._wire.failure is None:
                raise Ended(self._no_answer(NotSent(f"{type(error).__name__}: {error}"))) from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if self._wire.answer is None:
                raise
            raise Ended(self._unreadable(f"{type(error).__name__}: {error}")) from error
        if self._wire.failure is not None:
            raise Ended(self._no_answer(self._wire.failure))
        document = self._read()
        if not step:
            self._main = self._exchange(document)
        return document

    def _read(self) -> Mapping[str, Any]:
        """The answered object. Raises Ended, Refused."""
        answer = self._wire.answer
        assert answer is not None, "Bug! neither an answer nor a failure"
        try:
            document = read_object(answer.body)
            error = fields.mapping(document, "error")
            message, code = fields.text(error, "message"), fields.text(error, "code")
        except ValueError as unreadable:
            raise Ended(self._unreadable(str(unreadable))) from unreadable
        status, exchange = answer.status, self._exchange(document)
        if 200 <= status < 300:
            return document
        if status in {401, 403, 429} or code == "rate_limit":
            limited = status == 429 or code == "rate_limit"
            standard = "provider_rate_limited" if limited else "provider_credentials_refused"
            refused = refusal(standard, message, provider_code=code)
            raise Ended(
                Result(
                    outcome=Outcome.NOT_SENT,
                    exchange=exchange,
                    error=refused,
                    retry_after_seconds=_retry_after_seconds(answer.headers),
                )
            )
        if code == "idempotency_key_in_use" or (status == 409 and not code):
            in_use = refusal("provider_key_in_use", message, provider_code=code)
            raise Ended(_unknown(exchange, in_use, idempotency_conflict=True))
        if error.get("type") == "idempotency_error":
            reused = refusal("provider_key_reused", message, provider_code=code)
            raise Ended(_unknown(exchange, reused))
        if not error or status not in {400, 402, 404}:
            unclear = refusal("provider_error", message or f"HTTP {status}", provider_code=code)
            raise Ended(_unknown(exchange, unclear))
        raise Refused(error, exchange)

    def _no_answer(self, failure: Exception) -> Result:
        exchange = self._exchange({}, failure=str(failure))
        if isinstance(failure, NotSent):
            code = "provider_busy" if failure.busy else "provider_unreachable"
            error = refusal(code, str(failure))
            # An earlier request of this operation may have done its part; the whole is sent again
            # with the same keys, so this one has to have had no effect, not all of them.
            return Result(outcome=Outcome.NOT_SENT, exchange=exchange, error=error)
        return _unknown(exchange, refusal("provider_answer_lost", str(failure)))

    def _unreadable(self, words: str) -> Result:
        words = f"The answer is unreadable: {words}."
        exchange = self._exchange({}, failure=words)
        return _unknown(exchange, refusal("provider_answer_unreadable", words))

    def _exchange(self, document: Mapping[str, Any], *, failure: str = "") -> Exchange:
        answer = self._wire.answer
        error = document.get("error")
        response = _shown(document)
        if isinstance(error, dict):
            names = ("type", "code", "decline_code", "message", "param", "advice_code")
            response = {name: error.get(name) for name in names if error.get(name)}
            intent = error.get("payment_intent")
            response["payment_intent"] = _shown(intent if isinstance(intent, dict) else {})
        lost_status = getattr(self._wire.failure, "http_status", None)
        return Exchange(
            operation=self.operation,
            method=self._wire.method,
            url=self._wire.url.partition("?")[0],
            request=_shown(self._params),
            http_status=answer.status if answer else lost_status,
            response=response,
            provider_request_id=answer.headers.get("request-id", "") if answer else "",
            duration_ms=self._wire.duration_ms,
            failure=failure,
        )


def files_base(api_base: str) -> str:
    """Where files go when everything else goes to `api_base`."""
    return _FILES_BASE if urlsplit(api_base).hostname == _API_HOST else api_base


def _retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Stripe's wish for when to come again, in whole seconds; None where it says nothing."""
    value = headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdecimal() and len(value) < 6 else None


def objects_of(page: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The objects of one page of a list or of a search. Raises UnreadableObject."""
    found = page.get("data")
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise UnreadableObject("data is not a list of objects")
    return list(found)


def _unknown(
    exchange: Exchange, error: ProviderError, *, idempotency_conflict: bool = False
) -> Result:
    return Result(
        outcome=Outcome.UNKNOWN,
        exchange=exchange,
        error=error,
        idempotency_conflict=idempotency_conflict,
    )


def _shown(document: Mapping[str, Any]) -> dict[str, Any]:
    """The members that may be written down; of an expanded object its id, of evidence the names
    of what was given, never the words.
    """
    shown: dict[str, Any] = {}
    for name, value in document.items():
        if name == "evidence" and isinstance(value, Mapping):
            shown[name] = sorted(field for field, words in value.items() if words)
        elif name in _SHOWN:
            expanded = isinstance(value, Mapping) and "id" in value
            shown[name] = value["id"] if expanded else value
    return shown
