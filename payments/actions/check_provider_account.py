"""Ask a provider a harmless question, to learn whether an account's credentials open it.

Mental model: the question is for a payment that cannot exist, so "there is none" is the good
answer: it came from the provider, after the credentials were believed. No money moves. The call is
made outside of any transaction; only what came of it is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction

from audit import log
from payments.actions.provider_accounts import credentials_for
from payments.models import ProviderAccount
from payments.providers import provider_for
from payments.providers.base import Result

# In the form of a reference of Stripe and of the sandbox; neither ever makes one like it.
_NO_SUCH_PAYMENT = "pi_florin_connection_test"
_LONGEST_WAIT_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the provider said: `works`, in `words` for people, after `duration_ms`."""

    works: bool
    words: str
    duration_ms: int


def check_provider_account(
    *, account: ProviderAccount, actor: log.Actor, clock: Callable[[], datetime]
) -> Checked:
    """Make one call with the account's credentials and say what came of it; never raises for
    anything the provider does.
    """
    in_transaction = transaction.get_connection().in_atomic_block
    assert not in_transaction, "Bug! a provider call inside a database transaction"
    result = provider_for(account.provider).fetch_payment(
        credentials=credentials_for(account),
        timeout_seconds=min(settings.FLORIN_PROVIDER_TIMEOUT_SECONDS, _LONGEST_WAIT_SECONDS),
        provider_reference=_NO_SUCH_PAYMENT,
    )
    checked = _read(result)
    with log.acting_as(actor), transaction.atomic(durable=True):
        log.append(
            event_type="provider_account.checked",
            stream_type="provider_account",
            stream_id=account.pk,
            body={
                "works": checked.works,
                "words": checked.words,
                "duration_ms": checked.duration_ms,
            },
            references=[("merchant", account.merchant_id)] if account.merchant_id else [],
            occurred_at=clock(),
        )
    return checked


def _read(result: Result) -> Checked:
    works = result.not_found
    if works:
        words = "The provider answered and took the credentials."
    elif result.error is not None:
        words = result.error.message or result.error.code
    else:
        words = result.exchange.failure or f"The provider answered {result.exchange.http_status}."
    return Checked(works=works, words=words[:500], duration_ms=result.exchange.duration_ms)
