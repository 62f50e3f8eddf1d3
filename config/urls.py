"""Every address of Florin: the merchant API, the providers' webhooks, the back office, health."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("payments.api.urls")),
    path("admin/", admin.site.urls),
]
