"""Logs: one JSON object per line on standard error, tied to its request, without secrets.

Mental model: everything goes through Python's logging into one formatter, whether structlog or a
library wrote it. Each line carries the request id, the trace id and the actor that the audit
context bound. The line is searched for what looks like a credential or a card number before it is
written, so one inside the message of somebody else's exception is masked too. Nothing is logged to
standard output, which belongs to the answers of commands.
"""

from __future__ import annotations

import re
from typing import Any

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from audit import card_numbers

# API keys of ours and of providers, webhook secrets, client secrets, Authorization headers.
_CREDENTIAL = re.compile(
    r"\b((?:sk|pk|rk)_(?:test|live)_|whsec_)[A-Za-z0-9+/=_-]{6,}"
    r"|(_secret_)[A-Za-z0-9_-]{6,}"
    r"|\b((?:Bearer|Basic) )[A-Za-z0-9+/=_.:-]{6,}"
)
MASK = "********"


def mask_credentials(line: str) -> str:
    """The line with every credential replaced, its recognisable beginning kept."""
    return _CREDENTIAL.sub(lambda found: f"{found[1] or found[2] or found[3]}{MASK}", line)


def _masked_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    # Numbers in texts are looked for before JSON writes a line break as the letter n.
    texts = {name: card_numbers.mask(v)[0] for name, v in event.items() if isinstance(v, str)}
    rendered = _to_json(logger, method, {**event, **texts})
    assert isinstance(rendered, str), "Bug! the JSON renderer returns text"
    return card_numbers.mask(mask_credentials(rendered))[0]


_to_json = structlog.processors.JSONRenderer(ensure_ascii=False)
_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure(level: str) -> dict[str, Any]:
    """Set structlog up and return Django's LOGGING setting. `level` is a name such as INFO."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [*_SHARED, structlog.stdlib.ExtraAdder()],
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    _masked_json,
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django's own handlers would write a second time, in another format.
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.server": {"handlers": [], "level": "WARNING", "propagate": True},
            # A refused request is an answer, told by the access line; errors stay.
            "django.request": {"level": "ERROR"},
        },
    }
