"""What waits for a person: the list, a page that says why, and the verbs replay and discard."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from audit.redaction import writable_text
from webhooks import dead_letters
from webhooks.admin.dead_letter_forms import ReasonForm
from webhooks.admin.reading import (
    ReadingRoom,
    about_url,
    body,
    now,
    page,
    pretty,
    staff,
    without_secrets,
)
from webhooks.dead_letter_case import Case, case_of
from webhooks.models import (
    DeadLetter,
    EventDelivery,
    InboxEvent,
    MerchantDelivery,
    WebhookEndpoint,
)

MEND = "webhooks.change_deadletter"
# More than this at once is a run with progress, not one click and one transaction.
SELECTED_MAX = 500

_TONES = {"failed": "bad", "interrupted": "warn", "started": "warn", "succeeded": "good"}


def may_mend(request: HttpRequest) -> bool:
    """Ordinary staff permissions decide, although nothing is edited here."""
    user = request.user
    return bool(user.is_active and user.has_perm(MEND))


def require_mend(request: HttpRequest) -> None:
    """Raises PermissionDenied for whoever may not mend dead letters."""
    if not may_mend(request):
        raise PermissionDenied(f"This needs {MEND}.")


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadingRoom):
    """What waits for a person. Replaying and discarding need the right to change dead letters."""

    list_display = ("what", "kind", "died_at", "attempts", "holds", "reason")
    list_filter = ("kind",)
    search_fields = ("row_id__exact", "event_id__exact", "what", "reason")
    search_help_text = "An id, or words of the reason"
    ordering = ("-died_at",)
    list_before_template = "admin/florin/dead_letter_list.html"
    actions = ("replay_selected", "discard_selected")
    action_form = ReasonForm

    @display(description="row")
    def row(self, letter: DeadLetter) -> SafeString:
        """A link to the row itself."""
        return page(_MODEL_OF_KIND[letter.kind], letter.row_id)

    def has_mend_permission(self, request: HttpRequest) -> bool:
        """Ordinary staff permissions decide, although nothing is edited here."""
        return may_mend(request)

    def get_urls(self) -> list[Any]:
        own = [
            path(
                f"<path:letter_id>/{verb}/",
                self.admin_site.admin_view(view),
                name=f"webhooks_deadletter_{verb}",
            )
            for verb, view in (("replay", self._replay), ("discard", self._discard))
        ]
        return own + super().get_urls()

    @action(description="Replay selected", permissions=["mend"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Let the selected dead letters run again."""
        ids = self._selected(request, queryset)
        if ids:
            count = dead_letters.replay(ids, actor=staff(request), now=now())
            self.message_user(request, f"{count} queued again.", messages.SUCCESS)

    @action(description="Discard with reason", permissions=["mend"])
    def discard_selected(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Give the selected dead letters up, with the words that were typed."""
        reason = request.POST.get("reason", "").strip()
        if not reason:
            self.message_user(request, "Write the reason next to the action.", messages.ERROR)
            return
        ids = self._selected(request, queryset)
        if ids:
            count = dead_letters.discard(ids, reason=reason, actor=staff(request), now=now())
            self.message_user(request, f"{count} discarded.", messages.SUCCESS)

    def _selected(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> list[str]:
        ids = list(queryset.values_list("id", flat=True)[: SELECTED_MAX + 1])
        if len(ids) <= SELECTED_MAX:
            return ids
        words = f"Nothing was done: for more than {SELECTED_MAX} at once use “Many at once”."
        self.message_user(request, words, messages.ERROR)
        return []

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of one dead letter; of one that is dead no more, the page of its row."""
        if not self.has_view_permission(request) or request.method == "POST" or not object_id:
            raise PermissionDenied
        letter_id = unquote(object_id)
        letter = DeadLetter.objects.filter(pk=letter_id).first()
        if letter is None:
            return HttpResponseRedirect(_row_url(letter_id))
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": letter.what,
            "list_url": reverse("admin:webhooks_deadletter_changelist"),
            "may_mend": may_mend(request),
            **_shown(case_of(letter)),
        }
        return TemplateResponse(request, "admin/florin/dead_letter.html", context)

    def _replay(self, request: HttpRequest, letter_id: str) -> HttpResponse:
        require_mend(request)
        if request.method == "POST":
            count = dead_letters.replay([letter_id], actor=staff(request), now=now())
            self._told(request, count, "Queued again.")
            return HttpResponseRedirect(_row_url(letter_id))
        return HttpResponseRedirect(_letter_url(letter_id))

    def _discard(self, request: HttpRequest, letter_id: str) -> HttpResponse:
        require_mend(request)
        reason = request.POST.get("reason", "").strip()
        if request.method == "POST" and reason:
            count = dead_letters.discard(
                [letter_id], reason=reason, actor=staff(request), now=now()
            )
            self._told(request, count, "Discarded.")
            return HttpResponseRedirect(_row_url(letter_id))
        if request.method == "POST":
            self.message_user(request, "Write why it is given up.", messages.ERROR)
        return HttpResponseRedirect(_letter_url(letter_id))

    def _told(self, request: HttpRequest, count: int, words: str) -> None:
        if count:
            self.message_user(request, words, messages.SUCCESS)
        else:
            self.message_user(request, "It was dead no more; nothing was done.", messages.WARNING)


def _shown(case: Case) -> dict[str, Any]:
    """What the template draws: links, and payload and traces with their secrets masked."""
    letter = case.letter
    kind, about_id = case.about
    return {
        "case": case,
        "letter": letter,
        "reason": writable_text(letter.reason).text,
        "trace": writable_text(letter.error).text,
        "tries": [
            {
                "each": each,
                "tone": _TONES.get(each.outcome, "calm"),
                "words": writable_text(each.words).text,
                "trace": writable_text(each.trace).text,
            }
            for each in case.tries
        ],
        "held": [(page_of(each.page, each.row_id), each) for each in case.held],
        "held_more": max(0, case.held_count - len(case.held)),
        "payload": body(case.payload) if isinstance(case.payload, bytes) else pretty(case.payload),
        "headers": pretty(without_secrets(case.headers)) if case.headers else "",
        "row_url": _row_url(letter.pk),
        "about_kind": kind or "object at the provider",
        "about_id": about_id,
        "about_url": about_url(kind, about_id) if kind else "",
        "event_url": ""
        if letter.kind == "inbox"
        else reverse("admin:webhooks_domainevent_change", args=[letter.event_id]),
        "endpoint_link": page(WebhookEndpoint, case.endpoint_id) if case.endpoint_id else "",
        "replay_url": reverse("admin:webhooks_deadletter_replay", args=[letter.pk]),
        "discard_url": reverse("admin:webhooks_deadletter_discard", args=[letter.pk]),
    }


def page_of(model_name: str, row_id: str) -> str:
    """The address of a row's page."""
    return reverse(f"admin:webhooks_{model_name}_change", args=[row_id])


def _letter_url(letter_id: str) -> str:
    return reverse("admin:webhooks_deadletter_change", args=[letter_id])


def _row_url(letter_id: str) -> str:
    """Where the row of a dead letter is shown, dead or not. Raises Http404 for no such kind."""
    kind, _, row_id = letter_id.partition(":")
    if kind not in _MODEL_OF_KIND or not row_id:
        raise Http404("There is no such dead letter.")
    return page_of(str(_MODEL_OF_KIND[kind]._meta.model_name), row_id)


_MODEL_OF_KIND: dict[str, type[Model]] = {
    "inbox": InboxEvent,
    "handler": EventDelivery,
    "merchant": MerchantDelivery,
}
