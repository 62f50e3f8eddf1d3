"""Send webhooks again, or a test event: once per Idempotency-Key.

Mental model: webhooks.redelivery does and audits it; here the key is finished in the same
transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from payments.actions.change import Clock
from payments.actions.webhook_endpoints import refusals
from payments.delivery_representation import webhook_delivery_object, webhook_recovery_object
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer, Claim
from webhooks import recovery, redelivery


def resend_delivery(*, claim: Claim, clock: Clock) -> Answer:
    """Send `claim.parameters["delivery"]` to `["endpoint"]` now, whatever became of it.

    Answers 200. Raises FlorinError: not_found, parameter_invalid (the endpoint is switched off).
    """
    now = clock()
    with delivery_refusals():
        row = redelivery.resend(
            **_endpoint(claim),
            delivery_id=claim.parameters["delivery"],
            now=now,
            within=lambda sent: claim.finish(
                Answer(status=200, body=webhook_delivery_object(sent)), now=now
            ),
        )
    return Answer(status=200, body=webhook_delivery_object(row))


def recover_deliveries(*, claim: Claim, clock: Clock) -> Answer:
    """Send what failed or is missing (`claim.parameters["include"]`) since `["since"]` to
    `["endpoint"]`.

    Answers 200. Raises FlorinError: not_found, parameter_invalid.
    """
    now, endpoint_id = clock(), claim.parameters["endpoint"]

    def answer(found: recovery.Recovery) -> Answer:
        return Answer(status=200, body=webhook_recovery_object(endpoint_id, found))

    with delivery_refusals():
        found = recovery.recover(
            **_endpoint(claim),
            since=datetime.fromisoformat(claim.parameters["since"]),
            include=claim.parameters["include"],
            now=now,
            within=lambda found: claim.finish(answer(found), now=now),
        )
    return answer(found)


def send_test_event(*, claim: Claim, clock: Clock) -> Answer:
    """Send an `endpoint.test` event to `claim.parameters["endpoint"]` alone.

    Answers 201. Raises FlorinError: not_found, parameter_invalid (the endpoint is switched off).
    """
    now = clock()
    with delivery_refusals():
        row = redelivery.send_test(
            **_endpoint(claim),
            now=now,
            within=lambda made: claim.finish(
                Answer(status=201, body=webhook_delivery_object(made)), now=now
            ),
        )
    return Answer(status=201, body=webhook_delivery_object(row))


@contextmanager
def delivery_refusals() -> Iterator[None]:
    """What webhooks.redelivery refuses, as errors of the API."""
    try:
        with refusals():
            yield
    except redelivery.DeliveryNotFound as error:
        raise FlorinError(ErrorCode.not_found, str(error), param="id") from None


def _endpoint(claim: Claim) -> dict[str, Any]:
    return {
        "owner": claim.merchant.pk,
        "livemode": claim.livemode,
        "endpoint_id": claim.parameters["endpoint"],
    }
