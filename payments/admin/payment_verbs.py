"""What staff may do with one payment: give money back, take it, give it up, ask how it stands.

Mental model: each verb is a page of its own (payments.admin.verbs) and one call of
payments.actions.staff_requests, keyed by the form's ticket. A button is shown where the payment's
state allows the verb; the page itself asks for the permission, and the action decides.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action

from payments.actions.cancel_payment import CANCELABLE
from payments.actions.capture_payment import CAPTURABLE
from payments.actions.refund_payment import REFUNDABLE
from payments.actions.staff_requests import ask_as_staff, ask_provider_now, sent_before
from payments.admin import wording
from payments.admin.access import may, require, staff_actor
from payments.admin.forms import OnceForm
from payments.admin.money_forms import CancelForm, CaptureForm, RefundForm
from payments.admin.presentation import method_text, money_text
from payments.admin.verbs import Done, Verb, verb_page
from payments.idempotency import Answer
from payments.models import Payment, Refund
from payments.representation import refundable_minor
from payments.states import State

REFUND = "payments.refund_payment"
CAPTURE = "payments.capture_payment"
CANCEL = "payments.cancel_payment"
ASK = "payments.poll_payment"
_UNFINISHED = 202


class RefusedAnswer(ValueError):
    """An answer that says no, in the words it was given."""


def done_with(answer: Answer, *, message: str, url: str) -> Done:
    """What a person is told of an answer. Raises RefusedAnswer for one that says no."""
    if answer.status >= 400:
        raise RefusedAnswer(str(answer.body.get("error", {}).get("message", "It was refused.")))
    if answer.status == _UNFINISHED:
        return Done(
            message="The provider has not answered yet. It is being asked again by itself; nothing "
            "is sent a second time.",
            url=url,
            level=messages.WARNING,
        )
    return Done(message=message, url=url)


class PaymentVerbs(ModelAdmin):
    """The verbs of a payment's page; mixed into its admin class."""

    def has_refund_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, REFUND)

    def has_capture_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, CAPTURE)

    def has_cancel_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, CANCEL)

    def has_ask_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, ASK)

    def has_decide_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, "payments.view_reviewcase")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[UnfoldAction]:
        allowed: list[UnfoldAction] = super().get_actions_detail(request, object_id)
        payment = Payment.objects.filter(pk=object_id).first()
        hidden = _not_now(payment) if payment else set()
        prefix = f"{self.model._meta.app_label}_{self.model._meta.model_name}_"
        return [one for one in allowed if one.action_name.removeprefix(prefix) not in hidden]

    @action(description="Refund", url_path="refund", icon="undo", permissions=["refund"])
    def refund(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, REFUND)
        payment = payment_or_404(object_id)
        if form_was_sent(request, payment):
            return again(request, page_of(payment))
        most_minor = refundable_minor(payment)
        if payment.state not in REFUNDABLE or not most_minor:
            return _nothing_to_do(request, payment, "Nothing of this payment can be refunded now.")

        def refund(form: OnceForm) -> Done:
            amount_minor = form.cleaned_data["amount"]
            answer = ask_as_staff(
                payment=payment,
                operation="refunds.create",
                parameters={
                    "payment": payment.pk,
                    "amount_minor": amount_minor,
                    "reason": form.cleaned_data["refund_reason"],
                    "metadata": {},
                    "refund_platform_fee": form.cleaned_data["refund_platform_fee"],
                    "source": Refund.Source.BACK_OFFICE.value,
                },
                words=form.cleaned_data["reason"],
                form_key=form.cleaned_data["ticket"],
                actor=staff_actor(request),
                clock=timezone.now,
            )
            shown = money_text(amount_minor, payment.currency)
            return done_with(answer, message=f"{shown} go back to the payer.", url=page_of(payment))

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Refund {payment.pk}",
                button="Refund",
                intro="The amount is set aside at once and the provider is asked to give it back. "
                "A refund cannot be called back.",
                danger=True,
                facts=(*_facts(payment), ("Can be refunded", _money(payment, most_minor))),
            ),
            make_form=partial(RefundForm, currency=payment.currency, most_minor=most_minor),
            act=refund,
            back_url=page_of(payment),
            keyed=True,
        )

    @action(description="Capture", url_path="capture", icon="savings", permissions=["capture"])
    def capture(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, CAPTURE)
        payment = payment_or_404(object_id)
        if form_was_sent(request, payment):
            return again(request, page_of(payment))
        most_minor = payment.amount_capturable_minor
        if payment.state not in CAPTURABLE or not most_minor:
            return _nothing_to_do(request, payment, "No money is held that could be taken.")

        def capture(form: OnceForm) -> Done:
            amount_minor = form.cleaned_data["amount"]
            answer = ask_as_staff(
                payment=payment,
                operation="payments.capture",
                parameters={
                    "payment": payment.pk,
                    "amount_minor": amount_minor,
                    "final_capture": form.cleaned_data["final"],
                },
                words=form.cleaned_data["reason"],
                form_key=form.cleaned_data["ticket"],
                actor=staff_actor(request),
                clock=timezone.now,
            )
            shown = money_text(amount_minor, payment.currency)
            return done_with(answer, message=f"{shown} are taken.", url=page_of(payment))

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Capture {payment.pk}",
                button="Capture",
                intro="Held money is taken from the payer.",
                facts=(*_facts(payment), ("Held and not taken", _money(payment, most_minor))),
            ),
            make_form=partial(CaptureForm, currency=payment.currency, most_minor=most_minor),
            act=capture,
            back_url=page_of(payment),
            keyed=True,
        )

    @action(description="Cancel", url_path="cancel", icon="cancel", permissions=["cancel"])
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, CANCEL)
        payment = payment_or_404(object_id)
        if form_was_sent(request, payment):
            return again(request, page_of(payment))
        if payment.state not in CANCELABLE:
            state = wording.state_words(payment.state).label.lower()
            return _nothing_to_do(
                request, payment, f"The payment is {state}: it cannot be canceled any more."
            )

        def cancel(form: OnceForm) -> Done:
            answer = ask_as_staff(
                payment=payment,
                operation="payments.cancel",
                parameters={"payment": payment.pk, "reason": form.cleaned_data["cancel_reason"]},
                words=form.cleaned_data["reason"],
                form_key=form.cleaned_data["ticket"],
                actor=staff_actor(request),
                clock=timezone.now,
            )
            payment.refresh_from_db()
            state = wording.state_words(payment.state)
            return done_with(
                answer, message=f"{state.label}: {state.sentence}", url=page_of(payment)
            )

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Cancel {payment.pk}",
                button="Cancel the payment",
                intro=_CANCEL_WORDS.get(payment.state, "The payment is given up."),
                danger=True,
                facts=_facts(payment),
            ),
            make_form=CancelForm,
            act=cancel,
            back_url=page_of(payment),
            keyed=True,
        )

    @action(
        description="Ask the provider", url_path="ask", icon="contact_support", permissions=["ask"]
    )
    def ask_provider(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, ASK)
        payment = payment_or_404(object_id)

        def ask(form: OnceForm) -> Done:
            asked = ask_provider_now(
                payment_id=payment.pk, actor=staff_actor(request), clock=timezone.now
            )
            state = wording.state_words(asked.state)
            news = "News" if asked.version != payment.version else "Nothing new"
            return Done(message=f"{news}: {state.label}. {state.sentence}", url=page_of(payment))

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Ask the provider about {payment.pk}",
                button="Ask now",
                intro="It is asked by itself from time to time; this asks now and takes in what it "
                "says. No money moves.",
                facts=_facts(payment),
            ),
            make_form=OnceForm,
            act=ask,
            back_url=page_of(payment),
        )

    @action(
        description="Decide",
        url_path="decide",
        icon="gavel",
        permissions=["decide"],
    )
    def decide(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, "payments.view_reviewcase")
        payment = payment_or_404(object_id)
        case = payment.cases.filter(resolved_at=None).order_by("opened_at").first()
        if case is None:
            return _nothing_to_do(request, payment, "Nothing about this payment is to be decided.")
        return HttpResponseRedirect(reverse("admin:payments_reviewcase_change", args=[case.pk]))


_CANCEL_WORDS = {
    State.CREATED: "Nobody has paid yet; nobody can pay afterwards.",
    State.REQUIRES_ACTION: "The payer has not finished; they cannot pay afterwards.",
    State.AUTHORIZED: "The hold on the payer's money is released.",
    State.CAPTURE_PENDING: "The money is being taken; the provider is asked to stop that.",
    State.PARTIALLY_CAPTURED: "What was taken stays taken; the rest of the hold is released.",
    State.CAPTURED: "The money was taken and is not released to us yet; the provider is asked to "
    "give all of it up. Where it cannot, refund the payment instead.",
}


def payment_or_404(payment_id: str) -> Payment:
    """The payment of a page's address. Raises Http404."""
    payment = (
        Payment.objects.select_related("merchant", "provider_account").filter(pk=payment_id).first()
    )
    if payment is None:
        raise Http404(f"There is no payment {payment_id!r}.")
    return payment


def page_of(payment: Payment) -> str:
    """The address of a payment's page."""
    return reverse("admin:payments_payment_change", args=[payment.pk])


def form_was_sent(request: HttpRequest, payment: Payment) -> bool:
    """Whether this is a form that was sent before and did its work: a second click, a reload."""
    ticket = request.POST.get("ticket", "")
    return bool(ticket) and sent_before(payment=payment, form_key=ticket)


def again(request: HttpRequest, url: str) -> HttpResponse:
    """The answer to a form that was sent before."""
    messages.info(request, "This form was sent before; it counts once, and this is how it stands.")
    return HttpResponseRedirect(url)


def _not_now(payment: Payment) -> set[str]:
    """The verbs that the payment's state and amounts leave nothing to do for."""
    hidden = set()
    if payment.state not in REFUNDABLE or not refundable_minor(payment):
        hidden.add("refund")
    if payment.state not in CAPTURABLE or not payment.amount_capturable_minor:
        hidden.add("capture")
    if payment.state not in CANCELABLE:
        hidden.add("cancel")
    if not payment.cases.filter(resolved_at=None).exists():
        hidden.add("decide")
    return hidden


def _facts(payment: Payment) -> tuple[tuple[str, str], ...]:
    mode = "Live: real money" if payment.livemode else "Test: no real money"
    return (
        ("Merchant", payment.merchant.name),
        ("Mode", mode),
        ("State", wording.state_words(payment.state).label),
        ("Amount", _money(payment, payment.amount_minor)),
        ("Paid with", method_text(payment.payment_method)),
    )


def _money(payment: Payment, amount_minor: int) -> str:
    return money_text(amount_minor, payment.currency)


def _nothing_to_do(request: HttpRequest, payment: Payment, words: str) -> HttpResponse:
    messages.warning(request, words)
    return HttpResponseRedirect(page_of(payment))
