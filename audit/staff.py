"""Staff sign-ins, sign-outs and failed attempts as audit events.

Django tells of them by signals, whichever page or command they come from; each handler calls one
function here. What was typed as a user name at a failed attempt is recorded in full only if such a
user exists: people also type passwords there. Otherwise its first two characters and a keyed
fingerprint remain, enough to see that the same wrong name was tried again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.http import HttpRequest

from audit.context import Actor
from audit.encryption import blind_index
from audit.log import append

_LONGEST_USER_AGENT = 200


def connect() -> None:
    """Listen to the signals of django.contrib.auth; connecting twice is harmless."""
    user_logged_in.connect(_signed_in, dispatch_uid="audit.staff.signed_in")
    user_logged_out.connect(_signed_out, dispatch_uid="audit.staff.signed_out")
    user_login_failed.connect(_failed, dispatch_uid="audit.staff.failed")


def record_sign_in(
    *, event_type: str, actor: Actor, body: dict[str, Any], request: HttpRequest | None
) -> int:
    """Append one sign-in event to the stream of the user concerned and return its number.

    Raises what audit.log.append raises: a sign-in that cannot be recorded does not happen.
    """
    where = {
        "remote_address": request.META.get("REMOTE_ADDR", "") if request else "",
        "user_agent": request.headers.get("User-Agent", "")[:_LONGEST_USER_AGENT]
        if request
        else "",
    }
    with transaction.atomic():
        return append(
            event_type=event_type,
            stream_type="user",
            stream_id=actor.id,
            body={**body, **where},
            actor=actor,
            occurred_at=datetime.now(UTC),
        )


def described_user_name(tried: str) -> dict[str, str]:
    """What may be kept of a user name nobody has: its beginning, its length, a fingerprint."""
    return {
        "beginning": tried[:2] if len(tried) > 5 else "",
        "length": str(len(tried)),
        "fingerprint": blind_index(tried, purpose="staff.tried_user_name")[:16],
    }


def _signed_in(sender: object, request: HttpRequest | None, user: Any, **kwargs: object) -> None:
    actor = Actor(type="user", id=str(user.pk), display=user.get_username())
    record_sign_in(event_type="staff.signed_in", actor=actor, body={}, request=request)


def _signed_out(sender: object, request: HttpRequest | None, user: Any, **kwargs: object) -> None:
    if user is None:  # a session that had ended already
        return
    actor = Actor(type="user", id=str(user.pk), display=user.get_username())
    record_sign_in(event_type="staff.signed_out", actor=actor, body={}, request=request)


def _failed(
    sender: object,
    credentials: dict[str, Any],
    request: HttpRequest | None = None,
    **kwargs: object,
) -> None:
    user_model = get_user_model()
    tried = str(credentials.get(user_model.USERNAME_FIELD) or credentials.get("username") or "")
    user = user_model._default_manager.filter(**{user_model.USERNAME_FIELD: tried}).first()
    if user is not None:
        actor = Actor(type="user", id=str(user.pk), display=user.get_username())
        body: dict[str, Any] = {"user_exists": True}
    else:
        actor = Actor(type="user", id="unknown")
        body = {"user_exists": False, "tried_user_name": described_user_name(tried)}
    record_sign_in(event_type="staff.sign_in_failed", actor=actor, body=body, request=request)
