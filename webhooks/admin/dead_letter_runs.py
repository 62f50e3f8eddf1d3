"""Many dead letters at once: a filter, a count before anything happens, a page with progress."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from unfold.decorators import display

from webhooks import dead_letter_filter, dead_letter_runs
from webhooks.admin.dead_letter_forms import REASON_MAX, FilterForm
from webhooks.admin.dead_letters import may_mend, require_mend
from webhooks.admin.reading import ReadingRoom, now, staff
from webhooks.dead_letter_filter import KIND_WORDS, Filter
from webhooks.models import DeadLetterRun
from webhooks.models.dead_letter_runs import new_run_id

_TONES = {"running": "wait", "finished": "good", "canceled": "warn"}


@admin.register(DeadLetterRun)
class DeadLetterRunAdmin(ReadingRoom):
    """Orders over many dead letters, running and ended."""

    list_display = ("id", "created_at", "action", "by", "asked", "state", "total", "done")
    list_filter = ("status", "action")
    search_fields = ("id__exact",)
    search_help_text = "The whole id of a run"
    ordering = ("-id",)

    @display(description="by")
    def by(self, run: DeadLetterRun) -> str:
        """Who gave the order."""
        return run.actor_display or run.actor_id

    @display(description="filter")
    def asked(self, run: DeadLetterRun) -> str:
        """The filter in words."""
        words = Filter.from_json(run.wanted).words()
        return "; ".join(f"{name}: {value}" for name, value in words)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        own = [
            path("new/", view(self._new), name="webhooks_deadletterrun_new"),
            path("start/", view(self._start), name="webhooks_deadletterrun_start"),
            path(
                "<str:run_id>/progress/",
                view(self._progress),
                name="webhooks_deadletterrun_progress",
            ),
            path("<str:run_id>/cancel/", view(self._cancel), name="webhooks_deadletterrun_cancel"),
            path("<str:run_id>/change/", view(self._run), name="webhooks_deadletterrun_change"),
        ]
        return own + super().get_urls()

    def _new(self, request: HttpRequest) -> HttpResponse:
        """The filter; once one is given, how many it matches, and the buttons."""
        require_mend(request)
        moment = now()
        asked = "preview" in request.GET
        form = FilterForm(request.GET if asked else None)
        context: dict[str, Any] = {"title": "Many dead letters at once", "form": form}
        if asked and form.is_valid():
            context |= _preview(form.wanted, moment)
        return self._page(request, "admin/florin/dead_letter_run_new.html", context)

    def _start(self, request: HttpRequest) -> HttpResponse:
        require_mend(request)
        again = reverse("admin:webhooks_deadletterrun_new")
        if request.method != "POST":
            return HttpResponseRedirect(again)
        form = FilterForm(request.POST)
        if not form.is_valid():
            self.message_user(
                request, "The filter was not complete; nothing was done.", messages.ERROR
            )
            return HttpResponseRedirect(again)
        try:
            run = dead_letter_runs.start(
                run_id=_own_id(request.POST.get("run_id", "")),
                action=request.POST.get("action", ""),
                wanted=form.wanted,
                reason=request.POST.get("reason", "")[:REASON_MAX],
                actor=staff(request),
                now=now(),
            )
        except ValueError as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
            return HttpResponseRedirect(f"{again}?preview=1&{_query(request)}")
        return HttpResponseRedirect(reverse("admin:webhooks_deadletterrun_change", args=[run.pk]))

    def _run(self, request: HttpRequest, run_id: str) -> HttpResponse:
        run = self._found(request, run_id)
        context = {
            "title": f"{run.get_action_display().capitalize()} many dead letters",
            "run": run,
            "words": Filter.from_json(run.wanted).words(),
            "progress": dead_letter_runs.progress(run),
            "tone": _TONES[run.status],
            "may_mend": may_mend(request),
            "progress_url": reverse("admin:webhooks_deadletterrun_progress", args=[run.pk]),
            "cancel_url": reverse("admin:webhooks_deadletterrun_cancel", args=[run.pk]),
            "letters_url": reverse("admin:webhooks_deadletter_changelist"),
        }
        return self._page(request, "admin/florin/dead_letter_run.html", context)

    def _progress(self, request: HttpRequest, run_id: str) -> HttpResponse:
        """The figures of the page, for its script."""
        found = dead_letter_runs.progress(self._found(request, run_id))
        return JsonResponse(
            {
                "status": found.status,
                "percentage": found.percentage,
                "total": found.total,
                "done": found.done,
                "passed_over": found.passed_over,
                "again_dead": found.again_dead,
                "error": found.error,
            },
            headers={"Cache-Control": "no-store"},
        )

    def _cancel(self, request: HttpRequest, run_id: str) -> HttpResponse:
        require_mend(request)
        run = self._found(request, run_id)
        if request.method == "POST":
            if dead_letter_runs.cancel(run.pk, actor=staff(request), now=now()):
                self.message_user(request, "Canceled; what was done stays done.", messages.SUCCESS)
            else:
                self.message_user(request, "It had ended before.", messages.WARNING)
        return HttpResponseRedirect(reverse("admin:webhooks_deadletterrun_change", args=[run.pk]))

    def _found(self, request: HttpRequest, run_id: str) -> DeadLetterRun:
        if not self.has_view_permission(request):
            raise PermissionDenied
        run = DeadLetterRun.objects.filter(pk=run_id).first()
        if run is None:
            raise Http404("There is no such run.")
        return run

    def _page(
        self, request: HttpRequest, template: str, context: dict[str, Any]
    ) -> TemplateResponse:
        request.current_app = self.admin_site.name
        whole = {**self.admin_site.each_context(request), "opts": self.model._meta, **context}
        return TemplateResponse(request, template, whole)


def _preview(wanted: Filter, moment: datetime) -> dict[str, Any]:
    """What would be reached now, and the filter as the buttons send it: pinned to this moment."""
    pinned = wanted.died_before(moment)
    counts = dead_letter_filter.counts(pinned)
    return {
        "counts": [(KIND_WORDS[kind], count) for kind, count in counts.items()],
        "total": sum(counts.values()),
        "words": pinned.words(),
        "hidden": pinned.as_json(),
        "run_id": new_run_id(),
        "start_url": reverse("admin:webhooks_deadletterrun_start"),
    }


def _own_id(given: str) -> str:
    """The id that the preview gave to the run, so that a form sent twice starts one."""
    return given if given.startswith("dlr_") and given[4:].isalnum() and len(given) == 30 else ""


def _query(request: HttpRequest) -> str:
    """The filter of a refused form, for the address of the preview."""
    kept = request.POST.copy()
    for name in ("csrfmiddlewaretoken", "run_id", "action", "reason"):
        kept.pop(name, None)
    return kept.urlencode()
