"""Write the API's OpenAPI document to docs/openapi.json, so that a change of the API is seen."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from payments.api.openapi import document_text


class Command(BaseCommand):
    """`manage.py write_openapi`; a test compares the file with what is served."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.BASE_DIR / "docs" / "openapi.json"
        path.write_text(document_text(), encoding="utf-8")
        self.stdout.write(f"{path.relative_to(settings.BASE_DIR)} is written.")
