"""The back office: what staff see and the few things they may do (docs/back-office.md)."""

from payments.admin import (
    api_keys,
    cases,
    disputes,
    given_up_requests,
    inbox_effects,
    merchants,
    notifications,
    payments,
    provider_accounts,
    refunds,
    saved_methods,
    staff,
)

__all__ = [
    "api_keys",
    "cases",
    "disputes",
    "given_up_requests",
    "inbox_effects",
    "merchants",
    "notifications",
    "payments",
    "provider_accounts",
    "refunds",
    "saved_methods",
    "staff",
]
