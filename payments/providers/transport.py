"""One HTTP request to a provider: sent once, bounded in time and size, its end told precisely.

Every provider goes through here, so what counts as "surely not sent" is decided once:

    NotSent      no connection came about (refused, unknown host, TLS refused, bulkhead full)
    AnswerLost   the request may have arrived: time-out, broken connection, answer too large

Nothing is retried and no redirect is followed. The deadline covers connecting, sending, waiting
and reading together. Pools live on the module and hold no credentials.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NewConnectionError,
    SSLError,
)

from payments.providers.bulkhead import Bulkhead, BulkheadFull
from payments.providers.deadline import deadline, pool_manager

MAXIMUM_ANSWER_BYTES = 1_048_576
# A page of whole events: disputes among them carry up to 150,000 characters of evidence each.
MAXIMUM_LIST_BYTES = 16 * 1_048_576
LONGEST_CONNECT_SECONDS = 5.0
_CHUNK_BYTES = 65_536

_pool = pool_manager(hosts=64, connections_per_host=64)
bulkhead = Bulkhead()


class NotSent(Exception):
    """The request surely never reached the provider. `busy`: the bulkhead refused it."""

    def __init__(self, message: str, *, busy: bool = False) -> None:
        super().__init__(message)
        self.busy = busy


class AnswerLost(Exception):
    """The request may have reached the provider; there is no usable answer.

    `http_status` is set where at least the status line arrived.
    """

    def __init__(self, message: str, *, http_status: int | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A complete answer. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    duration_ms: int


def send(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    timeout_seconds: float,
    account_key: str,
    maximum_bytes: int = MAXIMUM_ANSWER_BYTES,
) -> Answer:
    """Send one request and read the whole answer within `timeout_seconds`.

    Raises NotSent or AnswerLost, and nothing else.
    """
    try:
        with bulkhead.place(account_key):
            return _send(method, url, headers, body, timeout_seconds, maximum_bytes)
    except BulkheadFull as error:
        raise NotSent(str(error), busy=True) from None


def _send(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    timeout_seconds: float,
    maximum_bytes: int,
) -> Answer:
    started = time.monotonic()
    with deadline(started + timeout_seconds):
        response = _open(method, url, headers, body, timeout_seconds)
        try:
            content = _read(response, maximum_bytes)
        except HTTPError as error:
            response.close()
            raise AnswerLost(_words(error), http_status=response.status) from error
        except AnswerLost:
            response.close()
            raise
    response.release_conn()
    return Answer(
        status=response.status,
        headers={name.lower(): value for name, value in response.headers.items()},
        body=content,
        duration_ms=round((time.monotonic() - started) * 1000),
    )


def _open(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout_seconds: float
) -> urllib3.BaseHTTPResponse:
    """Send the request and read the head of the answer."""
    try:
        return _pool.request(
            method,
            url,
            body=body,
            headers=dict(headers),
            timeout=urllib3.Timeout(
                connect=min(timeout_seconds, LONGEST_CONNECT_SECONDS), total=timeout_seconds
            ),
            preload_content=False,
            redirect=False,
        )
    except HTTPError as error:
        raise (NotSent if _never_connected(error) else AnswerLost)(_words(error)) from error
    except ValueError as error:
        # A header or an address that cannot be written down, for example a key with a line break.
        raise NotSent(f"{type(error).__name__}: the request cannot be formed") from error


def _never_connected(error: HTTPError) -> bool:
    """Whether the error came before a single byte of the request could have been sent."""
    if isinstance(error, SSLError):
        # Any other TLS error may just as well come in the middle of the exchange.
        return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in error.args)
    return isinstance(error, NewConnectionError | ConnectTimeoutError | LocationValueError)


def _read(response: urllib3.BaseHTTPResponse, maximum_bytes: int) -> bytes:
    content = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        content += chunk
        if len(content) > maximum_bytes:
            message = f"The answer is larger than {maximum_bytes} bytes."
            raise AnswerLost(message, http_status=response.status)
    return bytes(content)


def _words(error: Exception) -> str:
    """The exception's class and words, without the pool's representation in front of them."""
    return f"{type(error).__name__}: {str(error).rpartition('>: ')[2] or error}"
