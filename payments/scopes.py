"""What a restricted API key may do: one scope per kind of object, to read it or to change it.

Mental model: a view names its resource, the HTTP method says whether it reads or writes, and the
two make the scope it needs. `write` includes `read`. A secret key has every scope and stores none;
a publishable key has none and opens the payer's routes by its kind. A new resource is added here
and in a migration, because the database too refuses a scope that it does not know.
"""

from __future__ import annotations

from collections.abc import Collection

READ, WRITE = "read", "write"
_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

# Resource -> (what may be done with it, in words for people).
RESOURCES: dict[str, tuple[tuple[str, ...], str]] = {
    "payments": (
        (READ, WRITE),
        "payments: create, confirm, capture, cancel; reading includes their client secrets",
    ),
    "refunds": ((READ, WRITE), "refunds: give money back"),
    "disputes": ((READ, WRITE), "disputes: hand in evidence, accept"),
    "customers": ((READ, WRITE), "customers"),
    "payment_methods": ((READ, WRITE), "saved payment methods and mandates"),
    "events": ((READ,), "events, which show the objects they are about"),
    "webhook_endpoints": ((READ, WRITE), "addresses that get events, and their secrets"),
    "balance": ((READ,), "the balance"),
    "provider_accounts": ((READ,), "provider accounts, without their credentials"),
}
SCOPES: tuple[str, ...] = tuple(
    f"{resource}:{access}" for resource, (kinds, _) in RESOURCES.items() for access in kinds
)


def scope_of(resource: str, method: str) -> str:
    """The scope that an HTTP method needs on a resource, such as "payments:write"."""
    return f"{resource}:{READ if method in _READING_METHODS else WRITE}"


def opens(held: Collection[str], needed: str) -> bool:
    """True when the scopes `held` include the scope `needed`; writing includes reading."""
    resource, _, access = needed.partition(":")
    return needed in held or (access == READ and f"{resource}:{WRITE}" in held)
