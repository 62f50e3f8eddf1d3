"""The merchant's balance over HTTP, read from the ledger."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from ledger.balances import AccountBalance, balances_of_owner
from payments.api import schema
from payments.api.authentication import caller_of
from payments.api.pagination import read_query
from payments.api.views.base import SecretKeyView

# Balance of the API -> account of the ledger (docs/bookkeeping.md).
ACCOUNTS = {
    "pending_minor": "merchant:pending",
    "available_minor": "merchant:available",
    "reserve_minor": "merchant:reserve",
}


class BalanceDetail(SecretKeyView):
    """`/v1/balance`"""

    resource = "balance"

    @schema.retrieve_balance
    def get(self, request: Request) -> Response:
        """Retrieve the merchant's money, per currency."""
        read_query(request.query_params, paged=False)
        caller = caller_of(request)
        found = balances_of_owner(caller.merchant.pk, livemode=caller.livemode)
        return Response(
            {
                "object": "balance",
                "livemode": caller.livemode,
                "balances": [
                    {
                        "currency": currency,
                        **{name: amounts.get(code, 0) for name, code in ACCOUNTS.items()},
                    }
                    for currency, amounts in sorted(_by_currency(found).items())
                ],
            }
        )


def _by_currency(found: list[AccountBalance]) -> dict[str, dict[str, int]]:
    amounts: dict[str, dict[str, int]] = {}
    for balance in found:
        of_currency = amounts.setdefault(balance.account.currency, {})
        of_currency[balance.account.code] = balance.balance_minor
    return amounts
