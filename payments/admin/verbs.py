"""One page for one verb: a form, a check of rights, a single call of an action.

Mental model: Django's own change pages save models inside a transaction of theirs; an action wants
to open its own. So each verb of the back office is a small page here: GET shows the form, POST
checks it, calls the action once and shows what came of it. Once, in one of two ways: a verb without
an idempotency key of its own tears the form's ticket in the session; a verb that moves money uses
the ticket as its key (payments.actions.staff_requests), so that a form that is sent again, even
after a crash, gets the first one's answer. A key that is shown once exists only in
the answer to that POST: it is not stored, not put into a message, a log or the session, and the
page tells browsers and proxies to keep no copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin

from payments.admin.forms import TICKET, OnceForm, new_ticket, tear_ticket
from payments.errors import FlorinError


@dataclass(frozen=True, kw_only=True)
class ShownKey:
    """A key in clear with its label, for one page."""

    label: str
    key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a verb did: words and how good they are, where to go on, keys shown this once."""

    message: str
    url: str
    level: int = messages.SUCCESS
    keys: tuple[ShownKey, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verb:
    """The words of a verb's page: what it is about as `facts`, then what happens. `danger` colours
    its button; with `second_button` the form can also be sent with `then` being that button.
    """

    title: str
    button: str
    intro: str = ""
    danger: bool = False
    facts: Sequence[tuple[str, str]] = ()
    second_button: str = ""


def verb_page(
    request: HttpRequest,
    model_admin: ModelAdmin,
    *,
    verb: Verb,
    make_form: Callable[..., OnceForm],
    act: Callable[[OnceForm], Done],
    back_url: str,
    keyed: bool = False,
    template: str = "admin/florin/verb.html",
) -> HttpResponse:
    """Show the form of a verb, or carry the verb out. The caller has checked the rights.

    `keyed`: `act` uses the form's ticket as its idempotency key, so the ticket is not torn here.
    """
    posted = request.method == "POST"
    form = make_form(request.POST, request.FILES or None) if posted else make_form()
    if posted and form.is_valid():
        if not keyed and not tear_ticket(request, form.cleaned_data["ticket"]):
            messages.warning(request, "This form was sent before; nothing was done again.")
            return HttpResponseRedirect(back_url)
        try:
            if keyed:
                _check_ticket(form.cleaned_data["ticket"])
            done = act(form)
        except (FlorinError, ValidationError, ValueError) as refusal:
            _add_refusal(form, refusal)
        else:
            return _finished(request, model_admin, verb, done)
    context = {
        "title": verb.title,
        "verb": verb,
        "form": form,
        "ticket": new_ticket(request),
        "back_url": back_url,
    }
    return _page(request, model_admin, template, context)


def _check_ticket(ticket: str) -> None:
    """Raises ValidationError where a form came without the key that makes it count once."""
    if not TICKET.fullmatch(ticket):
        raise ValidationError("This form was not complete. Nothing was done; send it once more.")


def _finished(
    request: HttpRequest, model_admin: ModelAdmin, verb: Verb, done: Done
) -> HttpResponse:
    if not done.keys:
        messages.add_message(request, done.level, done.message)
        return HttpResponseRedirect(done.url)
    response = _page(
        request,
        model_admin,
        "admin/florin/keys_once.html",
        {"title": verb.title, "done": done},
    )
    response["Cache-Control"] = "no-store"
    return response


def _add_refusal(form: OnceForm, refusal: Exception) -> None:
    if isinstance(refusal, ValidationError):
        form.add_error(None, refusal.messages)
        return
    param = refusal.param or "" if isinstance(refusal, FlorinError) else ""
    form.add_error(param if param in form.fields else None, str(refusal))


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


# Names of POST fields that error reports must never hold.
hides_credentials = sensitive_post_parameters("secret_key", "webhook_secrets", "webhook_url")
