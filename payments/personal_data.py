"""Personal values of a request, sealed where the request itself is stored.

Mental model: a request is kept with its idempotency key for a week, so that a process that dies is
finished by another. Names, addresses and where a payer sat when they agreed are kept encrypted
there, bound to the merchant, and are in clear only while the request is worked on.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from audit import encryption


def seal(values: Mapping[str, Any], *, merchant_id: str) -> str:
    """The values as text that JSON can hold and nobody can read."""
    token = encryption.encrypt(json.dumps(dict(values)), context=_context(merchant_id))
    return base64.b64encode(token).decode()


def unseal(sealed: str, *, merchant_id: str) -> dict[str, Any]:
    """The values of `seal` in clear; none for "". Raises audit.encryption.DecryptionFailed."""
    if not sealed:
        return {}
    opened = encryption.decrypt(base64.b64decode(sealed), context=_context(merchant_id))
    values: dict[str, Any] = json.loads(opened)
    return values


def _context(merchant_id: str) -> str:
    return f"payments.idempotencykey.personal:{merchant_id}"
