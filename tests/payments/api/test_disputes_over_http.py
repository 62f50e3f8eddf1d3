"""Disputes over HTTP: words and files handed in once, accepted, overdue, foreign, and repeated."""

from __future__ import annotations

import base64
import threading
from typing import Any

import pytest
from django.db import connection

from payments.models import Dispute, EvidenceFile, IdempotencyKey
from tests.payments.api.conftest import Api, error_of
from tests.payments.api.whole_life import PDF, bring_on, disputed, evidence_file, settled, shown
from tests.payments.shop import Shop, new_key

WORDS = {"evidence": {"product_description": "A bicycle, delivered."}}
ABSENT = "dp_" + "0" * 26


def test_an_answered_dispute_is_won_and_the_money_is_ours_again(api: Api, shop: Shop) -> None:
    dispute = disputed(api, shop)
    assert (dispute["stage"], dispute["status"]) == ("chargeback", "needs_response")
    assert (dispute["withdrawn_minor"], dispute["fee_minor"]) == (4200, 1500)
    payment = shown(api, dispute["payment"])
    assert (payment["status"], payment["amount_disputed_minor"]) == ("disputed", 4200)
    answer = api.post(f"/v1/disputes/{dispute['id']}/evidence", WORDS)
    assert answer.status_code == 200, answer.content
    assert answer.json()["evidence_fields"] == ["product_description"]
    assert answer.json()["status"] in ("submitted", "under_review")
    bring_on(shop)
    over = api.get(f"/v1/disputes/{dispute['id']}").json()
    assert (over["status"], over["withdrawn_minor"], over["lost_minor"]) == ("won", 0, 0)
    assert shown(api, dispute["payment"])["status"] == "settled"


def test_files_are_kept_encrypted_and_handed_in_with_the_words(api: Api, shop: Shop) -> None:
    dispute = disputed(api, shop)
    path = f"/v1/disputes/{dispute['id']}"
    added = api.post(f"{path}/files", evidence_file())
    assert (added.status_code, added.json()["status"]) == (201, "needs_response")
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"x" * 30).decode()
    second = evidence_file(content_type="image/png", content_base64=png, filename="receipt.png")
    assert api.post(f"{path}/files", second).status_code == 201
    (file,) = api.get(path).json()["evidence_files"]
    assert (file["kind"], file["filename"], file["size_bytes"]) == ("receipt", "receipt.png", 38)
    row = EvidenceFile.objects.get(pk=file["id"])
    assert b"PNG" not in bytes(row.content_encrypted)
    for key in IdempotencyKey.objects.filter(merchant=shop.merchant):
        assert PDF not in str(key.parameters)
        assert "receipt.p" not in str(key.parameters)
    assert api.post(f"{path}/evidence", {}).status_code == 200
    late = api.post(f"{path}/files", evidence_file(kind="refund_policy"))
    assert (late.status_code, error_of(late)["code"]) == (409, "dispute_state_conflict")


def test_an_accepted_dispute_is_lost_and_stays_accepted(api: Api, shop: Shop) -> None:
    dispute = disputed(api, shop)
    answer = api.post(f"/v1/disputes/{dispute['id']}/accept")
    assert answer.status_code == 200, answer.content
    bring_on(shop)
    over = api.get(f"/v1/disputes/{dispute['id']}").json()
    assert (over["status"], over["lost_minor"]) == ("accepted", 4200)
    payment = shown(api, dispute["payment"])
    assert (payment["status"], payment["amount_reversed_minor"]) == ("reversed", 4200)
    again = api.post(f"/v1/disputes/{dispute['id']}/accept")
    assert (again.status_code, error_of(again)["code"]) == (409, "dispute_state_conflict")


def test_evidence_after_its_time_is_refused(api: Api, shop: Shop) -> None:
    dispute = disputed(api, shop)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE payments_dispute SET evidence_due_at = now() - interval '1 second' "
            "WHERE id = %s",
            [dispute["id"]],
        )
    for path, body in (("evidence", WORDS), ("files", evidence_file())):
        answer = api.post(f"/v1/disputes/{dispute['id']}/{path}", body)
        assert (answer.status_code, error_of(answer)["code"]) == (409, "evidence_overdue")


def test_evidence_is_handed_in_once(api: Api, shop: Shop) -> None:
    shop.settings(dispute_decision_after_seconds=3600)
    dispute = disputed(api, shop)
    path, key = f"/v1/disputes/{dispute['id']}/evidence", new_key()
    first = api.post(path, WORDS, idempotency_key=key)
    again = api.post(path, WORDS, idempotency_key=key)
    assert again["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    other = api.post(path, {"evidence": {"customer_name": "Dana"}}, idempotency_key=key)
    assert (other.status_code, error_of(other)["code"]) == (422, "idempotency_key_reused")
    new = api.post(path, WORDS)
    assert (new.status_code, error_of(new)["code"]) == (409, "dispute_state_conflict")


@pytest.mark.parametrize("verb", ["evidence", "accept"])
def test_while_an_answer_is_on_its_way_its_key_is_in_use(api: Api, shop: Shop, verb: str) -> None:
    dispute = disputed(api, shop)
    path, key = f"/v1/disputes/{dispute['id']}/{verb}", new_key()
    body = WORDS if verb == "evidence" else {}
    shop.settings(latency_seconds=1.0)
    answers: list[Any] = []

    def first() -> None:
        answers.append(Api(shop.secret_key).post(path, body, idempotency_key=key))
        connection.close()

    thread = threading.Thread(target=first)
    thread.start()
    while not IdempotencyKey.objects.filter(key=key).exists():
        assert thread.is_alive()
    second = api.post(path, body, idempotency_key=key)
    thread.join()
    assert (second.status_code, error_of(second)["code"]) == (409, "idempotency_key_in_use")
    assert answers[0].status_code == 200, answers[0].content


BAD_EVIDENCE: dict[str, tuple[dict[str, Any], str, str]] = {
    "nothing at all": ({}, "evidence_invalid", "evidence"),
    "no words": ({"evidence": {}}, "evidence_invalid", "evidence"),
    "a list": ({"evidence": []}, "evidence_invalid", "evidence"),
    "null": ({"evidence": None}, "parameter_invalid", "evidence"),
    "unknown field": ({"evidence": {"excuse": "x"}}, "evidence_invalid", "evidence.excuse"),
    "a number": (
        {"evidence": {"customer_name": 7}},
        "evidence_invalid",
        "evidence.customer_name",
    ),
    "empty text": (
        {"evidence": {"customer_name": "  "}},
        "evidence_invalid",
        "evidence.customer_name",
    ),
    "too long": (
        {"evidence": {"uncategorized_text": "x" * 150_001}},
        "evidence_invalid",
        "evidence",
    ),
    "unknown name": ({"texts": {}}, "parameter_unknown", "texts"),
}


@pytest.mark.parametrize("name", BAD_EVIDENCE)
def test_bad_evidence_is_refused_with_its_field(api: Api, shop: Shop, name: str) -> None:
    body, code, param = BAD_EVIDENCE[name]
    dispute = disputed(api, shop)
    answer = api.post(f"/v1/disputes/{dispute['id']}/evidence", body)
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert api.get(f"/v1/disputes/{dispute['id']}").json()["status"] == "needs_response"


BAD_FILES: dict[str, tuple[dict[str, Any], str, str]] = {
    "kind": ({"kind": "selfie"}, "parameter_invalid", "kind"),
    "content type": ({"content_type": "text/html"}, "parameter_invalid", "content_type"),
    "not base64": ({"content_base64": "%PDF-1.7"}, "evidence_invalid", "content_base64"),
    "another content": (
        {"content_base64": base64.b64encode(b"<html>").decode()},
        "evidence_invalid",
        "content_base64",
    ),
    "too large": (
        {"content_base64": base64.b64encode(b"%PDF-" + b"x" * 700_000).decode()},
        "parameter_invalid",
        "content_base64",
    ),
    "empty": ({"content_base64": ""}, "parameter_invalid", "content_base64"),
    "no filename": ({"filename": ""}, "parameter_invalid", "filename"),
    "unknown name": ({"url": "https://x.example"}, "parameter_unknown", "url"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_with_its_field(api: Api, shop: Shop, name: str) -> None:
    changes, code, param = BAD_FILES[name]
    dispute = disputed(api, shop)
    answer = api.post(f"/v1/disputes/{dispute['id']}/files", evidence_file(**changes))
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert not EvidenceFile.objects.filter(dispute_id=dispute["id"]).exists()


def test_the_largest_file_fits(api: Api, shop: Shop) -> None:
    dispute = disputed(api, shop)
    content = base64.b64encode(b"%PDF-" + b"x" * 699_995).decode()
    answer = api.post(f"/v1/disputes/{dispute['id']}/files", evidence_file(content_base64=content))
    assert answer.status_code == 201, answer.content


def test_foreign_disputes_are_absent_ones(api: Api, another_api: Api, shop: Shop) -> None:
    dispute = disputed(api, shop)
    for found in (dispute["id"], ABSENT):
        path = f"/v1/disputes/{found}"
        for answer in (
            another_api.get(path),
            another_api.post(f"{path}/evidence", WORDS),
            another_api.post(f"{path}/files", evidence_file()),
            another_api.post(f"{path}/accept"),
        ):
            error = error_of(answer)
            assert (answer.status_code, error["code"], error["param"]) == (404, "not_found", "id")
    assert another_api.get("/v1/disputes").json()["data"] == []
    assert Dispute.objects.get(pk=dispute["id"]).state == "needs_response"


def test_disputes_are_filtered(api: Api, shop: Shop) -> None:
    one, other = disputed(api, shop), disputed(api, shop, "tok_dispute_inquiry")
    assert (other["stage"], other["withdrawn_minor"]) == ("inquiry", 0)
    assert shown(api, other["payment"])["status"] == "settled"

    def ids(query: str) -> list[str]:
        return [row["id"] for row in api.get(f"/v1/disputes?{query}").json()["data"]]

    assert ids("limit=10") == [other["id"], one["id"]]
    assert ids("stage=inquiry") == [other["id"]]
    assert ids("status=needs_response&stage=chargeback") == [one["id"]]
    assert ids("status=won") == []
    assert ids(f"payment={one['payment']}") == [one["id"]]
    due = one["evidence_due_at"]
    assert ids(f"evidence_due_from={due}&payment={one['payment']}") == [one["id"]]
    assert ids(f"evidence_due_until={due}&payment={one['payment']}") == []
    for query in ("stage=first", "status=open", "evidence_due_from=soon", "reason=fraudulent"):
        assert api.get(f"/v1/disputes?{query}").status_code == 400


def test_an_inquiry_does_not_stop_a_refund(api: Api, shop: Shop) -> None:
    dispute = disputed(api, shop, "tok_dispute_inquiry")
    assert api.post("/v1/refunds", {"payment": dispute["payment"]}).status_code == 201


def test_a_dispute_of_a_refunded_payment_opens_a_case_that_the_merchant_reads(
    api: Api, another_api: Api, shop: Shop
) -> None:
    shop.settings(dispute_after_seconds=86_400)
    payment = settled(api, shop, payment_method="tok_dispute")
    assert api.post("/v1/refunds", {"payment": payment["id"]}).status_code == 201
    bring_on(shop, 2 * 86_400)
    (case,) = api.get(f"/v1/review_cases?payment={payment['id']}").json()["data"]
    assert (case["kind"], case["resolved_at"]) == ("double_loss", None)
    assert api.get(f"/v1/review_cases/{case['id']}").json() == case
    assert api.get("/v1/review_cases?kind=double_loss&resolved=false").json()["data"] == [case]
    assert api.get("/v1/review_cases?resolved=true").json()["data"] == []
    assert api.get("/v1/review_cases?kind=trouble").status_code == 400
    foreign = another_api.get(f"/v1/review_cases/{case['id']}")
    absent = another_api.get("/v1/review_cases/case_" + "0" * 26)
    for answer in (foreign, absent):
        assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")
    assert another_api.get("/v1/review_cases").json()["data"] == []
