"""Add a webhook endpoint, or give one a new secret: once per Idempotency-Key, or by staff.

Mental model: webhooks.endpoints does and audits it; here the key is finished in the same
transaction. The answer that is stored is the endpoint without its secret, so a repeat shows that it
was done and not the secret: who lost the first answer rotates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from audit import log
from payments.actions.change import Clock
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer, Claim
from payments.models import Merchant
from payments.representation import webhook_endpoint_object
from webhooks import endpoints
from webhooks.endpoints import EndpointView


def create_webhook_endpoint(*, claim: Claim, clock: Clock) -> Answer:
    """Add the endpoint that `claim.parameters` describe: url, event_types, description.

    Answers 201. Raises FlorinError: endpoint_url_invalid, parameter_invalid.
    """
    now = clock()
    with refusals():
        endpoint, secret = endpoints.create(
            **_owner(claim),
            **claim.parameters,
            now=now,
            within=lambda made: _finish(claim, made, status=201, now=now),
        )
    return _answer(endpoint, status=201, secret=secret)


def rotate_webhook_secret(*, claim: Claim, clock: Clock) -> Answer:
    """A new secret for `claim.parameters["endpoint"]`; the old one signs too for `overlap_hours`.

    Answers 200. Raises FlorinError: not_found.
    """
    now, which = clock(), {**_owner(claim), "endpoint_id": claim.parameters["endpoint"]}
    hours = claim.parameters.get("overlap_hours")
    overlap = endpoints.ROTATION_OVERLAP if hours is None else timedelta(hours=hours)
    with refusals(), transaction.atomic(durable=True):
        secret = endpoints.rotate_secret(**which, overlap=overlap, now=now)
        endpoint = endpoints.get(**which, now=now)
        _finish(claim, endpoint, status=200, now=now)
    return _answer(endpoint, status=200, secret=secret)


def add_merchant_endpoint(
    *,
    merchant: Merchant,
    livemode: bool,
    url: str,
    event_types: Sequence[str],
    description: str,
    actor: log.Actor,
    now: datetime,
) -> tuple[EndpointView, str]:
    """Add an endpoint for a merchant who asked staff to; the endpoint, and its secret this once.

    Raises FlorinError: endpoint_url_invalid, parameter_invalid. Not in a transaction.
    """
    with refusals(), log.acting_as(actor):
        return endpoints.create(
            owner=merchant.pk,
            livemode=livemode,
            url=url,
            event_types=event_types,
            description=description,
            now=now,
        )


@contextmanager
def refusals() -> Iterator[None]:
    """What webhooks.endpoints refuses, as errors of the API."""
    try:
        yield
    except endpoints.EndpointNotFound as error:
        raise FlorinError(ErrorCode.not_found, str(error), param="id") from None
    except endpoints.EndpointInvalid as error:
        of_url = error.field == "url"
        code = ErrorCode.endpoint_url_invalid if of_url else ErrorCode.parameter_invalid
        raise FlorinError(code, str(error), param=error.field) from None


def _owner(claim: Claim) -> dict[str, Any]:
    return {"owner": claim.merchant.pk, "livemode": claim.livemode}


def _finish(claim: Claim, endpoint: EndpointView, *, status: int, now: datetime) -> None:
    claim.finish(_answer(endpoint, status=status), now=now)


def _answer(endpoint: EndpointView, *, status: int, secret: str = "") -> Answer:
    once = {"secret": secret} if secret else {}
    return Answer(status=status, body=webhook_endpoint_object(endpoint), shown_once=once)
