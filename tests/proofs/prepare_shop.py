"""Open a shop in the database of the environment and print what a merchant's server needs, as JSON.

Run as a program (`python -m tests.proofs.prepare_shop`), because the test process itself works on
another database than the private servers of a proof.
"""

from __future__ import annotations

import json
import os
import sys

import django


def main() -> None:
    """Open the shop and print it."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from tests.payments.shop import open_shop

    shop = open_shop()
    printed = {
        "merchant": shop.merchant.pk,
        "secret_key": shop.secret_key,
        "publishable_key": shop.publishable_key,
        "sandbox_key": shop.sandbox_key,
        "provider_account": shop.account.pk,
        "endpoint_token": shop.endpoint.token,
        "webhook_secret": shop.webhook_secret,
    }
    sys.stdout.write(json.dumps(printed))


if __name__ == "__main__":
    main()
