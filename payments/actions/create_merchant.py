"""Onboarding: one form, one command, one transaction, and the merchant can take test payments."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from audit import log
from payments.actions.api_keys import add_api_key
from payments.models import ApiKey, Merchant


@dataclass(frozen=True, kw_only=True)
class CreatedMerchant:
    """A new merchant and its test keys in clear, which are shown this once."""

    merchant: Merchant
    secret_key: str = field(repr=False)
    publishable_key: str


def create_merchant(
    *,
    name: str,
    email: str,
    fee_basis_points: int,
    fee_fixed_minor: int,
    actor: log.Actor,
    now: datetime,
    review_above_minor: int | None = None,
) -> CreatedMerchant:
    """Add a merchant with a secret and a publishable test key. Its payments above
    `review_above_minor` wait for a person; None: none do.
    """
    with log.acting_as(actor), transaction.atomic(durable=True):
        merchant = Merchant(
            name=name,
            email=email,
            fee_basis_points=fee_basis_points,
            fee_fixed_minor=fee_fixed_minor,
            review_above_minor=review_above_minor,
            created_at=now,
        )
        merchant.full_clean()
        merchant.save(force_insert=True)
        log.append(
            event_type="merchant.created",
            stream_type="merchant",
            stream_id=merchant.pk,
            body={
                "name": name,
                "fee_basis_points": fee_basis_points,
                "fee_fixed_minor": fee_fixed_minor,
                "review_above_minor": review_above_minor,
            },
            occurred_at=now,
        )
        keys = {
            kind: add_api_key(
                merchant=merchant,
                kind=kind,
                livemode=False,
                name="First test key",
                now=now,
            )[1]
            for kind in (ApiKey.Kind.SECRET, ApiKey.Kind.PUBLISHABLE)
        }
    return CreatedMerchant(
        merchant=merchant,
        secret_key=keys[ApiKey.Kind.SECRET],
        publishable_key=keys[ApiKey.Kind.PUBLISHABLE],
    )
