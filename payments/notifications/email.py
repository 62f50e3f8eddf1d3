"""One mail: plain text and HTML, through Django's backend, over within a total time.

Mental model: `send` returns an outcome and never raises. A mail has one recipient, so that an
address that is refused says so, and carries the notification's id as its Message-ID, the same at
every try, by which mail programs know a repetition. A watchdog closes the connection at the
deadline, because a time-out per read lets a server that says one byte at a time hold us for ever.
"""

from __future__ import annotations

import contextlib
import os
import smtplib
import socket
import threading
from email.utils import parseaddr
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.mail.backends.smtp import EmailBackend
from django.template.loader import render_to_string

from payments.notifications.message import Message
from payments.notifications.outcome import Outcome

DEADLINE_SECONDS = 30.0
NOT_CONFIGURED = "no mail server is configured: EMAIL_URL is not set"


def is_configured() -> bool:
    """Whether mail can be sent at all."""
    return bool(settings.EMAIL_HOST)


def send(message: Message, *, address: str) -> Outcome:
    """Send a message to one address. Touches no database; never raises."""
    if not is_configured():
        return Outcome(error=NOT_CONFIGURED)
    try:
        compose(message, address=address).send()
    except smtplib.SMTPRecipientsRefused as refusal:
        code, words = next(iter(refusal.recipients.values()))
        return Outcome(error=_said(code, words), final=code >= 500)
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as refusal:
        return Outcome(
            error=_said(refusal.smtp_code, refusal.smtp_error), final=refusal.smtp_code >= 500
        )
    except Exception as failure:  # noqa: BLE001  a mail server may provoke anything
        return Outcome(error=f"{type(failure).__name__}: {failure}"[:500])
    return Outcome()


def compose(message: Message, *, address: str) -> EmailMultiAlternatives:
    """The mail as it is sent."""
    context = {"message": message}
    mail = EmailMultiAlternatives(
        subject=f"[Florin] {message.subject_line}",
        body=render_to_string("email/notification.txt", context),
        to=[address],
        headers={
            "Message-ID": f"<{message.id}@{_own_domain()}>",
            "Auto-Submitted": "auto-generated",
            "Florin-Notification": message.id,
        },
        connection=get_connection(),
    )
    mail.attach_alternative(render_to_string("email/notification.html", context), "text/html")
    return mail


def _own_domain() -> str:
    """The domain of the sender, the right side of a Message-ID."""
    return parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "florin.invalid"


def _said(code: int, words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return f"the mail server refused it: {code} {text}"[:500]


class WatchedEmailBackend(EmailBackend):
    """Django's SMTP backend with a total deadline for each connection."""

    deadline_seconds = DEADLINE_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watchdog = _Watchdog(self.deadline_seconds)

    @property
    def connection_class(self) -> Any:
        """Smtplib's own class, whose socket the watchdog knows from its first byte on."""
        watchdog, base = self._watchdog, super().connection_class

        class Watched(base):  # type: ignore[misc, valid-type]
            def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
                opened: socket.socket = super()._get_socket(host, port, timeout)
                watchdog.watch(opened)
                return opened

        return Watched

    def send_messages(self, email_messages: Any) -> int:
        with self._watchdog:
            try:
                return super().send_messages(email_messages) or 0
            except (OSError, smtplib.SMTPException) as failure:
                if self._watchdog.barked:
                    raise TimeoutError(
                        f"the mail server was not done within {self.deadline_seconds:g} s"
                    ) from failure
                raise


class _Watchdog:
    """Shuts the connection's socket when time is up, whatever it is doing just then."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._watched: list[socket.socket] = []
        self.barked = False

    def watch(self, opened: socket.socket) -> None:
        """A second handle on the socket, which TLS takes away from the connection."""
        self._watched.append(socket.socket(fileno=os.dup(opened.fileno())))

    def __enter__(self) -> _Watchdog:
        self._timer = threading.Timer(self._seconds, self._bark)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()
        for watched in self._watched:
            watched.close()
        self._watched.clear()

    def _bark(self) -> None:
        self.barked = True
        for watched in self._watched:
            with contextlib.suppress(OSError):
                watched.shutdown(socket.SHUT_RDWR)
