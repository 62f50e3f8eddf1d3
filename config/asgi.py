"""The stream process as an ASGI application: live status for payers' pages, and nothing else.

Everything else is served by WSGI (config/wsgi.py), three times faster. `manage.py serve_streams`
serves this with granian; any other ASGI server can.
"""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from payments.api.stream import StreamApplication  # noqa: E402  needs the settings

application = StreamApplication()
