"""The limit: a bare Django view with one INSERT, on the same server with the same middleware.

It stands under /webhooks, where requests of machines go, so that it skips what they skip. What any
Django application pays for one request that writes one row and commits it. Florin's own
addresses stand beside it, so both are served by the same processes.
"""

from __future__ import annotations

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from config import urls


@csrf_exempt
def insert_one_row(request: HttpRequest) -> HttpResponse:
    """Store the body in one row, committed by the statement itself."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO bench_bare (body) VALUES (%s)", [request.body.decode()])
    return HttpResponse(b'{"stored":true}', content_type="application/json")


urlpatterns = [path("webhooks/bare", insert_one_row), *urls.urlpatterns]
handler400 = urls.handler400
handler404 = urls.handler404
handler500 = urls.handler500
