"""One message to a Slack incoming webhook, behind the same guard as merchants' webhooks.

Mental model: `send` returns an outcome and never raises. The address is somebody's input, so the
request goes through webhooks.transport: judged again, pinned, never redirected, over within a total
time. What others may have chosen (a merchant's name) stands in plain-text objects, and everything
in marked-up text is escaped, so that nothing can become a link or wake a whole channel.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from payments.notifications.message import Message
from payments.notifications.outcome import Outcome
from webhooks import retries, transport

Post = Callable[..., transport.Answer]

_HEADER_MAX = 150
_TEXT_MAX = 3000
_FIELD_MAX = 2000
_FIELDS_MAX = 10
_SIGNS = {"urgent": "Urgent", "warning": "Warning", "information": "For information"}


def send(message: Message, *, url: str, now: datetime, post: Post = transport.post) -> Outcome:
    """Send a message to an incoming webhook. Touches no database; never raises."""
    answer = post(
        url=url,
        livemode=True,
        headers={
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Florin-Notifications/1.0",
            "Florin-Notification": message.id,
        },
        body=body_of(message),
    )
    if answer.succeeded:
        return Outcome()
    # 408 and 429 ask for patience; any other 4xx (no such hook, archived channel) stays as it is.
    final = answer.status is not None and 400 <= answer.status < 500
    return Outcome(
        error=answer.error[:500],
        final=final and answer.status not in (408, 429),
        retry_after_seconds=retries.parse_retry_after(answer.retry_after, now=now),
    )


def body_of(message: Message) -> bytes:
    """The same bytes at every try."""
    content = {
        "text": escaped(f"{message.subject_line}: {message.happened}")[:_TEXT_MAX],
        "blocks": _blocks(message),
        "unfurl_links": False,
        "unfurl_media": False,
    }
    return json.dumps(content, ensure_ascii=False, sort_keys=True).encode()


def escaped(text: str) -> str:
    """Text in which Slack sees no markup: what it asks to have escaped, and nothing besides."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _blocks(message: Message) -> list[dict[str, Any]]:
    happened = f"{message.happened} {message.more}".strip()
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(message.subject_line[:_HEADER_MAX])},
        {"type": "section", "text": _plain(happened[:_TEXT_MAX])},
    ]
    fields = [(label, value) for label, value in message.facts if value][: _FIELDS_MAX - 1]
    fields.append(("Since", message.since))
    blocks.append(
        {
            "type": "section",
            "fields": [_plain(f"{label}: {value}"[:_FIELD_MAX]) for label, value in fields],
        }
    )
    told = (
        f"*What it blocks:* {escaped(message.blocks)}\n*What to do:* {escaped(message.to_do)}\n"
        f"<{escaped(message.url)}|Open in Florin>"
    )
    blocks.append({"type": "section", "text": _marked(told[:_TEXT_MAX])})
    sign = f"{_SIGNS[message.severity]} · {message.id} · rule “{message.rule_name}”"
    blocks.append({"type": "context", "elements": [_plain(sign[:_FIELD_MAX])]})
    return blocks


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _marked(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}
