"""Where mail is handed in, from one URL: EMAIL_URL.

`smtp://host:25` speaks plainly, `smtp+tls://user:password@host:587` turns TLS on before it says
anything (STARTTLS), `smtps://user:password@host:465` is TLS from the first byte. User and password
are percent-encoded. Empty: there is no mail server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

_PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}


@dataclass(frozen=True, kw_only=True)
class MailServer:
    """What Django's EMAIL_ settings want to know; no `host` where there is no server."""

    host: str = ""
    port: int = 25
    user: str = ""
    password: str = field(default="", repr=False)
    starttls: bool = False
    tls: bool = False


def parse(url: str) -> MailServer:
    """The mail server of a URL. Raises ImproperlyConfigured, without repeating the password."""
    if not url:
        return MailServer()
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ImproperlyConfigured(
            "EMAIL_URL must read smtp://, smtp+tls:// or smtps://, then user:password@ where they "
            "are asked for, and host:port."
        )
    return MailServer(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        starttls=parts.scheme == "smtp+tls",
        tls=parts.scheme == "smtps",
    )
