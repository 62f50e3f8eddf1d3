"""The official SDK's way to the network: our transport behind its HTTPClient interface.

The SDK builds requests and sorts errors; what "not sent" means, the deadline over the whole
exchange, the size limit and the connection pools are ours and shared with the other providers.
One instance serves one call, whose requests (most have one) share its deadline, and remembers what
went over the wire last.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import stripe

from payments.providers.transport import Answer, AnswerLost, NotSent, send

# Request durations would be reported to Stripe with the next request of the same thread.
stripe.enable_telemetry = False
# The audit trail records every call; at DEBUG the SDK would log whole bodies.
logging.getLogger("stripe").setLevel(logging.WARNING)


class OneCall(stripe.HTTPClient):
    """The HTTP client of one call. After each request that was tried, exactly one of `answer` and
    `failure` is set; both are None when the SDK refused before trying.
    """

    name = "florin"

    def __init__(self, *, timeout_seconds: float, account_key: str, maximum_bytes: int) -> None:
        super().__init__()
        self._deadline = time.monotonic() + timeout_seconds
        self._account_key = account_key
        self._maximum_bytes = maximum_bytes
        self.method = ""
        self.url = ""
        self.answer: Answer | None = None
        self.failure: NotSent | AnswerLost | None = None
        self.duration_ms = 0

    def begin(self) -> None:
        """Forget the request before; the deadline and the time spent go on."""
        self.method = self.url = ""
        self.answer = self.failure = None

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        """Send the SDK's request. Raises stripe.APIConnectionError without an answer."""
        self.method, self.url = method.upper(), url
        try:
            self.answer = send(
                method=self.method,
                url=url,
                headers=headers or {},
                body=post_data.encode() if isinstance(post_data, str) else post_data,
                timeout_seconds=max(0.001, self._deadline - time.monotonic()),
                account_key=self._account_key,
                maximum_bytes=self._maximum_bytes,
            )
        except (NotSent, AnswerLost) as failure:
            self.failure = failure
            raise stripe.APIConnectionError(str(failure), should_retry=False) from failure
        self.duration_ms += self.answer.duration_ms
        # The SDK only sorts by status and code; values are read from `answer.body`, strictly.
        text = self.answer.body.decode("utf-8", "replace")
        return text, self.answer.status, self.answer.headers

    def close(self) -> None:
        """Connections belong to the shared pools."""
