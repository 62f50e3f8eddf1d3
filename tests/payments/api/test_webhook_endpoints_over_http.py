"""Webhook endpoints over HTTP: made, changed, rotated, deleted; the secret is shown once."""

from __future__ import annotations

import pytest

from tests.payments.api.conftest import Api, error_of


@pytest.fixture
def url(receiver_port: int) -> str:
    """An address that tests may be sent webhooks to."""
    return f"http://127.0.0.1:{receiver_port}/events"


def create(api: Api, url: str, **more: object) -> dict[str, object]:
    answer = api.post("/v1/webhook_endpoints", {"url": url, **more})
    assert answer.status_code == 201, answer.content
    made: dict[str, object] = answer.json()
    return made


def test_the_secret_is_in_the_first_answer_only(api: Api, url: str) -> None:
    made = create(api, url, event_types=["payment.*"])
    secret = str(made.pop("secret"))
    assert secret.startswith("whsec_")
    assert made["status"] == "enabled"
    assert api.get(f"/v1/webhook_endpoints/{made['id']}").json() == made
    assert api.get("/v1/webhook_endpoints").json()["data"] == [made]


def test_what_is_left_out_of_a_change_stays(api: Api, url: str) -> None:
    made = create(api, url, event_types=["payment.settled"], description="books")
    path = f"/v1/webhook_endpoints/{made['id']}"
    changed = api.patch(path, {"enabled": False}).json()
    assert (changed["status"], changed["description"]) == ("disabled", "books")
    assert changed["event_types"] == ["payment.settled"]
    assert api.patch(path, {"enabled": True}).json()["status"] == "enabled"


def test_a_rotated_secret_is_new_and_shown_once(api: Api, url: str) -> None:
    made = create(api, url)
    path = f"/v1/webhook_endpoints/{made['id']}"
    rotated = api.post(f"{path}/rotate_secret")
    assert rotated["Cache-Control"] == "no-store"
    assert rotated.json()["secret"] != made["secret"]
    assert "secret" not in api.get(path).json()


def test_a_deleted_endpoint_is_gone(api: Api, url: str) -> None:
    made = create(api, url)
    path = f"/v1/webhook_endpoints/{made['id']}"
    assert api.delete(path).json() == {
        "id": made["id"],
        "object": "webhook_endpoint",
        "deleted": True,
    }
    assert api.get(path).status_code == 404
    assert api.delete(path).status_code == 404


def test_another_merchant_sees_and_changes_nothing(api: Api, another_api: Api, url: str) -> None:
    path = f"/v1/webhook_endpoints/{create(api, url)['id']}"
    assert another_api.get("/v1/webhook_endpoints").json()["data"] == []
    for answer in (
        another_api.get(path),
        another_api.patch(path, {"enabled": False}),
        another_api.delete(path),
        another_api.post(f"{path}/rotate_secret"),
    ):
        assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")
    assert api.get(path).json()["status"] == "enabled"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "parameter_invalid", "url"),
        ({"url": "https://127.0.0.1/"}, "endpoint_url_invalid", "url"),
        ({"url": "http://169.254.169.254/latest"}, "endpoint_url_invalid", "url"),
        ({"url": "ftp://shop.example/"}, "parameter_invalid", "url"),
        ({"url": 5}, "parameter_invalid", "url"),
        ({"url": "https://x.example/", "event_types": []}, "parameter_invalid", "event_types"),
        ({"url": "https://x.example/", "event_types": "*"}, "parameter_invalid", "event_types"),
        ({"url": "https://x.example/", "event_types": [5]}, "parameter_invalid", "event_types.0"),
        ({"url": "https://x.example/", "secret": "mine"}, "parameter_unknown", "secret"),
    ],
)
def test_a_bad_endpoint_is_refused(
    api: Api, body: dict[str, object], code: str, param: str
) -> None:
    answer = api.post("/v1/webhook_endpoints", body)
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert api.get("/v1/webhook_endpoints").json()["data"] == []


def test_endpoints_come_in_pages(api: Api, url: str) -> None:
    ids = [str(create(api, f"{url}/{number}")["id"]) for number in range(3)][::-1]
    first = api.get("/v1/webhook_endpoints?limit=2").json()
    assert ([row["id"] for row in first["data"]], first["has_more"]) == (ids[:2], True)
    rest = api.get(f"/v1/webhook_endpoints?starting_after={ids[1]}").json()
    assert ([row["id"] for row in rest["data"]], rest["has_more"]) == (ids[2:], False)
