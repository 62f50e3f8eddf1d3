"""`expand[]`: a payment with its captures, refunds, disputes or customer in the same answer.

Mental model: what may be expanded is a table. Each name costs one query for a whole page, however
many payments are on it, and shows the newest ten of each payment; the rest has a list of its own.
Reading them takes the scope that their own address takes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.http import QueryDict

from payments.api.authentication import Caller
from payments.api.pagination import list_object
from payments.customer_representation import customer_object, with_personal_data
from payments.errors import ErrorCode, FlorinError
from payments.models import Capture, Dispute, Payment, Refund
from payments.representation import capture_object, dispute_object, refund_object
from payments.scopes import scope_of

PARAMETER = "expand[]"
SHOWN_MAX = 10

# Name -> (resource whose scope it takes, rows newest first, what one looks like).
_LISTS: dict[str, tuple[str, QuerySet[Any], Callable[[Any], dict[str, Any]]]] = {
    "captures": ("payments", Capture.objects.order_by("-id"), capture_object),
    "refunds": ("refunds", Refund.objects.order_by("-id"), refund_object),
    "disputes": ("disputes", Dispute.objects.order_by("-id"), dispute_object),
}
EXPANDABLE = (*_LISTS, "customer")


def names_to_expand(query: QueryDict, caller: Caller) -> tuple[str, ...]:
    """What `expand[]` asks for, each once.

    Raises FlorinError: parameter_invalid for a name that there is not, scope_missing for what the
    key may not read.
    """
    names = tuple(dict.fromkeys(query.getlist(PARAMETER)))
    for name in names:
        if name not in EXPANDABLE:
            raise FlorinError(
                ErrorCode.parameter_invalid,
                f"{PARAMETER} takes: {', '.join(EXPANDABLE)}.",
                param=PARAMETER,
            )
        scope = scope_of(_LISTS[name][0] if name in _LISTS else "customers", "GET")
        if not caller.may(scope):
            raise FlorinError(
                ErrorCode.scope_missing, f"This key lacks the scope {scope}.", required_scope=scope
            )
    return names


def lookups(names: Collection[str]) -> list[Any]:
    """What Django has to prefetch for payments that are then `expanded`: one query per name."""
    return [
        Prefetch(name, _LISTS[name][1][: SHOWN_MAX + 1], to_attr=f"shown_{name}")
        if name in _LISTS
        else name
        for name in names
    ]


def expanded(body: dict[str, Any], payment: Payment, names: Collection[str]) -> dict[str, Any]:
    """A payment object with what `lookups` had read."""
    body = dict(body)
    for name in names:
        if name == "customer":
            customer = payment.customer
            if customer is not None:
                body["customer"] = with_personal_data(customer_object(customer), customer)
        else:
            found = getattr(payment, f"shown_{name}")
            shown = [_LISTS[name][2](row) for row in found[:SHOWN_MAX]]
            body[name] = list_object(shown, has_more=len(found) > SHOWN_MAX)
    return body
