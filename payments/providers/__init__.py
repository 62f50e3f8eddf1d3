"""The payment providers: a contract (`base`), one package per provider, and this registry.

settings.FLORIN_PROVIDERS is the one place that names them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from payments.providers.base import Provider


class UnknownProvider(LookupError):
    """No provider of this code is configured; the message names those that are."""


@functools.cache
def provider_for(code: str) -> Provider:
    """The provider of a code, e.g. "stripe": one stateless instance per process.

    Raises UnknownProvider.
    """
    # Imported here because the sandbox service lives under this package and runs without Django.
    from django.conf import settings
    from django.utils.module_loading import import_string

    path = settings.FLORIN_PROVIDERS.get(code)
    if path is None:
        configured = ", ".join(sorted(settings.FLORIN_PROVIDERS))
        raise UnknownProvider(f"No provider {code!r} is configured; there are: {configured}.")
    provider: Provider = import_string(path)()
    return provider
