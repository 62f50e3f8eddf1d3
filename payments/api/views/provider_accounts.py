"""Provider accounts over HTTP: which ones payments may go through. Credentials never come out."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from payments.actions.provider_accounts import accounts_of
from payments.api import schema
from payments.api.authentication import caller_of
from payments.api.pagination import page_of, read_query
from payments.api.views.base import SecretKeyView
from payments.errors import ErrorCode, FlorinError
from payments.models import ProviderAccount
from payments.representation import timestamp


class ProviderAccountList(SecretKeyView):
    """`/v1/provider_accounts`"""

    resource = "provider_accounts"

    @schema.list_provider_accounts
    def get(self, request: Request) -> Response:
        """List the accounts that payments may go through, newest first."""
        page, _ = read_query(request.query_params)
        caller = caller_of(request)
        rows = accounts_of(caller.merchant, caller.livemode)
        return Response(page_of(rows, page, represent=_represent))


class ProviderAccountDetail(SecretKeyView):
    """`/v1/provider_accounts/{id}`"""

    resource = "provider_accounts"

    @schema.retrieve_provider_account
    def get(self, request: Request, account_id: str) -> Response:
        """Retrieve an account."""
        read_query(request.query_params, paged=False)
        caller = caller_of(request)
        account = accounts_of(caller.merchant, caller.livemode).filter(pk=account_id).first()
        if account is None:
            raise FlorinError(
                ErrorCode.not_found, f"No such provider account: {account_id!r}.", param="id"
            )
        return Response(_represent(account))


def _represent(account: ProviderAccount) -> dict[str, Any]:
    return {
        "id": account.pk,
        "object": "provider_account",
        "livemode": account.livemode,
        "provider": account.provider,
        "name": account.name,
        "owner": "merchant" if account.owned_by_merchant else "platform",
        "active": account.active,
        "is_default": account.is_default,
        "publishable_key": account.publishable_key or None,
        "created_at": timestamp(account.created_at),
    }
