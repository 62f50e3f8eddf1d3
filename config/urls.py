"""Every address of Florin: the merchant API, the providers' webhooks, the back office, health."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("payments.api.urls")),
    path("admin/", admin.site.urls),
]

# Errors outside of views: JSON under /v1 and /webhooks, pages elsewhere.
handler400 = "payments.api.errors.bad_request_handler"
handler404 = "payments.api.errors.not_found_handler"
handler500 = "payments.api.errors.server_error_handler"
