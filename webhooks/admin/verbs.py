"""A verb of these pages: words, a form, one button, one call of a function of this app.

Mental model: GET shows, POST does and leads on. Nothing here counts clicks: what a verb does twice
is the same message under the same id, or nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

from webhooks.endpoints import EndpointInvalid, EndpointNotFound


@dataclass(frozen=True, kw_only=True)
class Verb:
    """The words of a verb's page; `danger` colours its button."""

    title: str
    button: str
    intro: str
    facts: Sequence[tuple[str, str]] = ()
    danger: bool = False


def may(request: HttpRequest, permission: str) -> bool:
    """Ordinary staff permissions decide, although no row is edited by hand."""
    return bool(request.user.is_active and request.user.has_perm(permission))


def require(request: HttpRequest, permission: str) -> None:
    """Raises PermissionDenied for whoever lacks it."""
    if not may(request, permission):
        raise PermissionDenied(f"This needs {permission}.")


def form_of(request: HttpRequest, form: type[forms.Form] = forms.Form) -> forms.Form:
    """The form of a verb as it was sent, or empty."""
    return form(request.POST if request.method == "POST" else None)


def verb_page(
    request: HttpRequest,
    model_admin: ModelAdmin,
    *,
    verb: Verb,
    form: forms.Form,
    act: Callable[[], tuple[str, str]],
    back_url: str,
    template: str = "admin/florin/verb.html",
    **context: Any,
) -> HttpResponse:
    """Show a verb, or carry it out: `act` returns what to say and where to go on. The caller has
    checked the rights; what the verb refuses is said on its page.
    """
    if request.method == "POST" and form.is_valid():
        try:
            words, url = act()
        except (EndpointInvalid, EndpointNotFound) as refusal:
            field = getattr(refusal, "field", "")
            form.add_error(field if field in form.fields else None, str(refusal))
        else:
            messages.success(request, words)
            return HttpResponseRedirect(url)
    request.current_app = model_admin.admin_site.name
    whole = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.model._meta,
        "title": verb.title,
        "verb": verb,
        "form": form,
        "back_url": back_url,
        **context,
    }
    return TemplateResponse(request, template, whole)
