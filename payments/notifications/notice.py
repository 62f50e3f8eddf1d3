"""One thing that somebody should know, in words for a person who is no engineer.

Mental model: a value. It says what happened and since when, what that holds up, what to do, and
where to look. It never holds personal data, secrets or free text of a payer or provider: those
stand on the page it links to, behind a login.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

SUBJECT_LENGTH_MAX = 200


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What one notification tells. `subject` is what it is about: what has the same kind and
    subject is the same thing, told again. `mode` is "live", "test", or "" for the installation
    itself. `path` is a page of the back office. `facts` are label and value.
    """

    kind: str
    subject: str
    mode: str
    title: str
    happened: str
    since: datetime
    blocks: str
    to_do: str
    path: str
    facts: tuple[tuple[str, str], ...] = ()

    def content(self) -> dict[str, Any]:
        """The notice as it is stored, ready for JSON."""
        return {**asdict(self), "since": self.since.isoformat()}


def from_content(content: Mapping[str, Any]) -> Notice:
    """The notice that was stored."""
    known = {name: content[name] for name in Notice.__dataclass_fields__}
    known["since"] = datetime.fromisoformat(known["since"])
    known["facts"] = tuple((label, value) for label, value in known["facts"])
    return Notice(**known)
