"""Tell staff of everything, by mail and by Slack, in the database of the environment.

Run as a program (`python -m tests.proofs.prepare_staff <port of the listener in Slack's place>`),
for the same reason as tests.proofs.prepare_shop.
"""

from __future__ import annotations

import os
import sys

import django


def main() -> None:
    """Make the two rules."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from tests.payments.notifications.conftest import email_rule, slack_rule
    from tests.webhooks.receiver import Receiver

    email_rule()
    slack_rule(Receiver(port=int(sys.argv[1])))


if __name__ == "__main__":
    main()
