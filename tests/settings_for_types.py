"""The settings as mypy reads them: the real ones, with addresses that nobody connects to."""

from __future__ import annotations

import os

os.environ.setdefault("SECRET_KEY", "only-for-type-checking")
os.environ.setdefault("FLORIN_ENCRYPTION_KEYS", "types:" + "A" * 43 + "=")
os.environ.setdefault("DATABASE_URL", "postgresql://florin@localhost/florin")
os.environ.setdefault("REDIS_URL", "redis://localhost/0")

from config.settings import *  # noqa: F403
