"""The back office: what staff see and the few things they may do (docs/back-office.md)."""

from payments.admin import credentials, merchants, payments, staff

__all__ = ["credentials", "merchants", "payments", "staff"]
