"""A verb of these pages: words, a form, one button, one call of a function of this app.

Mental model: GET shows, POST does and leads on. Nothing here counts clicks: what a verb does twice
is the same message under the same id, or nothing at all. A secret that is shown once exists only in
the answer to that POST, and the page tells browsers and proxies to keep no copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

from webhooks.endpoints import EndpointInvalid, EndpointNotFound

_Form = TypeVar("_Form", bound=forms.Form)


@dataclass(frozen=True, kw_only=True)
class Verb:
    """The words of a verb's page; `danger` colours its button."""

    title: str
    button: str
    intro: str
    facts: Sequence[tuple[str, str]] = ()
    danger: bool = False


@dataclass(frozen=True, kw_only=True)
class ShownSecret:
    """A secret in clear with its label, for one page."""

    label: str
    key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a verb did: words, where to go on, secrets shown this once."""

    message: str
    url: str
    keys: tuple[ShownSecret, ...] = ()


def may(request: HttpRequest, permission: str) -> bool:
    """Ordinary staff permissions decide, although no row is edited by hand."""
    return bool(request.user.is_active and request.user.has_perm(permission))


def require(request: HttpRequest, permission: str) -> None:
    """Raises PermissionDenied for whoever lacks it."""
    if not may(request, permission):
        raise PermissionDenied(f"This needs {permission}.")


def form_of(
    request: HttpRequest, form: type[_Form], initial: dict[str, Any] | None = None
) -> _Form:
    """The form of a verb as it was sent, or as it is at first."""
    return form(request.POST if request.method == "POST" else None, initial=initial)


def verb_page(
    request: HttpRequest,
    model_admin: ModelAdmin,
    *,
    verb: Verb,
    form: forms.Form,
    act: Callable[[], Done],
    back_url: str,
    template: str = "admin/florin/verb.html",
    **context: Any,
) -> HttpResponse:
    """Show a verb, or carry it out by `act`. The caller has checked the rights; what the verb
    refuses is said on its page, at the field that it is about.
    """
    if request.method == "POST" and form.is_valid():
        try:
            done = act()
        except (EndpointInvalid, EndpointNotFound) as refusal:
            name = getattr(refusal, "field", "")
            form.add_error(name if name in form.fields else None, str(refusal))
        else:
            return _finished(request, model_admin, verb, done)
    shown = {"title": verb.title, "verb": verb, "form": form, "back_url": back_url, **context}
    return _page(request, model_admin, template, shown)


def _finished(
    request: HttpRequest, model_admin: ModelAdmin, verb: Verb, done: Done
) -> HttpResponse:
    if not done.keys:
        messages.success(request, done.message)
        return HttpResponseRedirect(done.url)
    shown = {"title": verb.title, "done": done}
    response = _page(request, model_admin, "admin/florin/keys_once.html", shown)
    response["Cache-Control"] = "no-store"
    return response


def _page(
    request: HttpRequest, model_admin: ModelAdmin, template: str, context: dict[str, Any]
) -> HttpResponse:
    request.current_app = model_admin.admin_site.name
    whole = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.model._meta,
        **context,
    }
    return TemplateResponse(request, template, whole)
