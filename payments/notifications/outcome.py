"""How one try to reach a recipient ended, whichever channel it went through."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`error` is empty when it was taken. `final` means that trying again cannot help: the address
    does not exist, the webhook was removed. `retry_after_seconds` is what the other side asked for.
    """

    error: str = ""
    final: bool = False
    retry_after_seconds: float | None = None

    @property
    def succeeded(self) -> bool:
        """True when the other side has taken the message."""
        return not self.error
