"""People who work at the back office: each of some groups, signed in with Django's test client.

All of them have one password, so that a test process hashes one; PBKDF2 takes its time on purpose.
"""

from __future__ import annotations

import functools
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User
from django.test import Client

from audit.log import Actor
from payments.admin.access import ensure_staff_groups


@dataclass(frozen=True)
class Staff:
    """A person of one group (or none), signed in with Django's test client."""

    user: User
    password: str
    client: Client


def make_staff(*groups: str, superuser: bool = False) -> Staff:
    """A new person in these groups, signed in."""
    ensure_staff_groups(actor=Actor(type="system", id="test"), now=datetime.now(UTC))
    password, hashed = _password()
    user = User.objects.create(
        username=f"{(groups or ('root' if superuser else 'nobody',))[0].lower().replace(' ', '-')}"
        f"-{secrets.token_hex(4)}",
        password=hashed,
        is_staff=True,
        is_superuser=superuser,
    )
    user.groups.set(Group.objects.filter(name__in=groups))
    assert user.groups.count() == len(groups)
    client = Client()
    client.force_login(user)
    return Staff(user=user, password=password, client=client)


@functools.cache
def _password() -> tuple[str, str]:
    """The password of everybody here and its hash."""
    password = secrets.token_urlsafe(16)
    return password, make_password(password)
