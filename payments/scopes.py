"""What a restricted API key may do: one scope per kind of object, to read it or to change it.

Mental model: a view names its resource, the HTTP method says whether it reads or writes, and the
two make the scope it needs. `write` includes `read`. A secret key has every scope and stores none;
a publishable key has none and opens the payer's routes by its kind. A new resource is added here
and in a migration, because the database too refuses a scope that it does not know.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

READ, WRITE = "read", "write"
_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Resource(NamedTuple):
    """A kind of object: what reading it shows and what changing it does ("": it cannot)."""

    shows: str
    does: str = ""

    @property
    def accesses(self) -> tuple[str, ...]:
        """The kinds of access there are."""
        return (READ, WRITE) if self.does else (READ,)


RESOURCES: dict[str, Resource] = {
    "payments": Resource(
        "payments, captures, review cases, client secrets",
        "create, change, confirm, capture, raise, cancel",
    ),
    "refunds": Resource("refunds", "give money back"),
    "disputes": Resource("disputes", "hand in evidence, accept"),
    "customers": Resource("customers", "add, change, delete"),
    "payment_methods": Resource("saved payment methods and mandates", "save, remove"),
    "events": Resource("events, which show the objects they are about"),
    "webhook_endpoints": Resource(
        "addresses that get events", "add, change, delete, new secrets, send again"
    ),
    "balance": Resource("the balance"),
    "provider_accounts": Resource("provider accounts, without their credentials"),
}
SCOPES: tuple[str, ...] = tuple(
    f"{name}:{access}" for name, resource in RESOURCES.items() for access in resource.accesses
)


def scope_words(scope: str) -> str:
    """A scope for people, such as "Read and change refunds: give money back"."""
    name, _, access = scope.partition(":")
    resource = RESOURCES[name]
    if access == READ:
        return f"Read {resource.shows}"
    return f"Read and change {name.replace('_', ' ')}: {resource.does}"


def scope_of(resource: str, method: str) -> str:
    """The scope that an HTTP method needs on a resource, such as "payments:write"."""
    return f"{resource}:{READ if method in _READING_METHODS else WRITE}"


def opens(held: Collection[str], needed: str) -> bool:
    """True when the scopes `held` include the scope `needed`; writing includes reading."""
    resource, _, access = needed.partition(":")
    return needed in held or (access == READ and f"{resource}:{WRITE}" in held)
