#!/usr/bin/env python
"""Django's command line, with the environment of the embedded servers when none is given."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run one command; without DATABASE_URL and REDIS_URL on the embedded servers of this clone."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from config.embedded import fill_environment
    from config.server_process import ServerFailed

    try:
        # `make run` works without a single setting, on given servers too; nothing else makes up
        # the secrets of an installation that has servers of its own.
        fill_environment(create_secrets=sys.argv[1:2] == ["run_florin"])
    except ServerFailed as failure:
        sys.exit(f"florin: {failure}")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
