"""A stored notification as both channels tell it: the same words in another dress.

Mental model: a pure function of the stored row and of FLORIN_BASE_URL, so every try sends the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from payments.models import Notification
from payments.notifications import kinds
from payments.notifications.events import moment_words, page
from payments.notifications.notice import from_content

TITLE_LENGTH_MAX = 120


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is told, with whole addresses instead of paths."""

    id: str
    title: str
    severity: str
    test_mode: bool
    happened: str
    since: str
    more: str
    blocks: str
    to_do: str
    facts: tuple[tuple[str, str], ...]
    url: str
    rule_name: str
    rule_url: str

    @property
    def subject_line(self) -> str:
        """One short line: what mail programs and Slack's notices show."""
        mode = "[Test mode] " if self.test_mode else ""
        return f"{mode}{self.title}"


def message_of(notification: Notification) -> Message:
    """What is to be sent for a row; its rule is loaded with it."""
    notice = from_content(notification.content)
    return Message(
        id=notification.pk,
        title=one_line(notice.title),
        severity=kinds.by_name(notice.kind).severity.value,
        test_mode=notice.mode == "test",
        happened=notice.happened,
        since=moment_words(notice.since),
        more=str(notification.content.get("more", "")),
        blocks=notice.blocks,
        to_do=notice.to_do,
        facts=notice.facts,
        url=_whole(notice.path),
        rule_name=notification.rule.name,
        rule_url=_whole(page("payments_notificationrule_change", notification.rule_id)),
    )


def one_line(text: str) -> str:
    """A text without line breaks and control characters, cut to a subject's length."""
    clean = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(clean.split())[:TITLE_LENGTH_MAX]


def _whole(path: str) -> str:
    return settings.FLORIN_BASE_URL.rstrip("/") + path
