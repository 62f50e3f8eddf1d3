"""Who is acting, and in which request: the context every audit event is written in.

A context is opened by whoever starts work (the request middleware, a worker, a command) and lives
in a context variable, so it follows the work into async code and never leaks between threads.
Inside a request the actor may become known later: a staff session is looked up only when an event
is written, and the API sets the key it has authenticated with `set_actor`. The same ids go to the
logs through structlog, so a log line and an audit event of one request can be put side by side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, get_args

import structlog

ActorType = Literal["user", "api_key", "psp", "job", "system", "payer"]
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


class MissingActor(Exception):
    """An event without an actor: nothing is written, so the change it belongs to fails too."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who acts. `id` is a text that stays true after the row it names is deleted.

    `display` is how people know the actor (a user name, a key's prefix) at the time of acting.
    Raises ValueError for an unknown type or an empty id.
    """

    type: ActorType
    id: str
    display: str = ""

    def __post_init__(self) -> None:
        if self.type not in get_args(ActorType):
            raise ValueError(
                f"actor type {self.type!r} is not one of {', '.join(get_args(ActorType))}"
            )
        if not self.id.strip():
            raise ValueError("an actor needs an id")


@dataclass(slots=True)
class AuditContext:
    """What events written now have in common. `actor_source` is asked while `actor` is None."""

    actor: Actor | None = None
    trace_id: str = ""
    request_id: str = ""
    reason: str = ""
    actor_source: Callable[[], Actor | None] | None = None


_context: ContextVar[AuditContext | None] = ContextVar("audit_context", default=None)
_NO_CONTEXT = AuditContext()


def current_context() -> AuditContext:
    """The innermost open context; an empty one outside any. Not to be changed by the caller."""
    return _context.get() or _NO_CONTEXT


def current_actor() -> Actor | None:
    """Who is acting now, None when nobody is known."""
    context = current_context()
    if context.actor is None and context.actor_source is not None:
        return context.actor_source()
    return context.actor


def set_actor(actor: Actor) -> None:
    """Name the actor of the context that is open, once authentication has found it.

    Raises MissingActor outside any context: there is nothing the actor could be attached to.
    """
    context = _context.get()
    if context is None:
        raise MissingActor("set_actor() needs an open context: use acting_as(actor) instead")
    context.actor = actor
    structlog.contextvars.bind_contextvars(actor=f"{actor.type}:{actor.id}")


@contextmanager
def acting_as(
    actor: Actor,
    *,
    trace_id: str | None = None,
    request_id: str | None = None,
    reason: str = "",
) -> Iterator[AuditContext]:
    """Everything inside is done by `actor`. Ids that are not given are those of the outer context.

    `trace_id` is 32 lower-case hexadecimal digits (W3C) or empty; raises ValueError otherwise.
    """
    outer = current_context()
    context = AuditContext(
        actor=actor,
        trace_id=outer.trace_id if trace_id is None else trace_id,
        request_id=outer.request_id if request_id is None else request_id,
        reason=reason or outer.reason,
    )
    with open_context(context):
        yield context


@contextmanager
def open_context(context: AuditContext) -> Iterator[AuditContext]:
    """Make `context` the current one, also in the logs. Raises ValueError for a bad trace id."""
    if context.trace_id and not _TRACE_ID.fullmatch(context.trace_id):
        raise ValueError("trace_id must be 32 lower-case hexadecimal digits")
    names = {"trace_id": context.trace_id, "request_id": context.request_id}
    if context.actor is not None:
        names["actor"] = f"{context.actor.type}:{context.actor.id}"
    token = _context.set(context)
    saved = structlog.contextvars.get_contextvars()
    structlog.contextvars.bind_contextvars(**{name: text for name, text in names.items() if text})
    try:
        yield context
    finally:
        _context.reset(token)
        # All of them, also what set_actor() and the work inside bound.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**saved)
