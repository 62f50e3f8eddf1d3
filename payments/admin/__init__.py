"""The back office: what staff see and the few things they may do (docs/back-office.md)."""

from payments.admin import api_keys, merchants, payments, provider_accounts, staff

__all__ = ["api_keys", "merchants", "payments", "provider_accounts", "staff"]
