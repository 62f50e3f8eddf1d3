"""Webhook endpoints over HTTP: made, changed, rotated, deleted; the secret is shown once."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.payments.api.conftest import Api, error_of
from tests.payments.shop import new_key
from webhooks import endpoints
from webhooks.models import WebhookEndpoint


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


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names and their addresses, beside those that the system knows."""
    known: dict[str, list[str]] = {}
    by_the_system = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        found = known.get(host, [host])
        return [entry for one in found for entry in by_the_system(one, *arguments, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.0.0.8"],
        ["169.254.169.254"],
        ["127.0.0.1"],
        ["fd00:ec2::254"],
        ["::ffff:192.168.0.1"],
        ["93.184.216.34", "10.0.0.8"],
    ],
    ids=["private", "metadata", "loopback", "unique local", "mapped", "one of two"],
)
def test_a_name_that_leads_inside_is_refused_at_creation_and_at_a_change(
    api: Api, url: str, names: dict[str, list[str]], addresses: list[str]
) -> None:
    names["inside.example"] = addresses
    path = f"/v1/webhook_endpoints/{create(api, url)['id']}"
    for answer in (
        api.post("/v1/webhook_endpoints", {"url": "https://inside.example/hook"}),
        api.patch(path, {"url": "https://inside.example/hook"}),
    ):
        error = error_of(answer)
        assert (answer.status_code, error["code"]) == (400, "endpoint_url_invalid")
        assert error["param"] == "url"
        assert error["message"] == (
            "inside.example resolves to an address off the public internet."
        )
    (left,) = api.get("/v1/webhook_endpoints").json()["data"]
    assert left["url"] == url


def test_a_name_that_leads_outside_is_taken_and_judged_anew_at_each_change(
    api: Api, names: dict[str, list[str]]
) -> None:
    names["shop.example"] = ["93.184.216.34"]
    made = create(api, "https://shop.example/hook")
    names["shop.example"] = ["10.0.0.8"]
    path = f"/v1/webhook_endpoints/{made['id']}"
    assert api.patch(path, {"description": "books"}).status_code == 200
    again = api.patch(path, {"url": "https://shop.example/hook"})
    assert error_of(again)["code"] == "endpoint_url_invalid"


@pytest.mark.parametrize(
    ("url_wanted", "code"),
    [
        ("https://169.254.169.254/latest", "endpoint_url_invalid"),
        ("http://[::ffff:10.0.0.1]/", "endpoint_url_invalid"),
        ("https://2130706433/", "endpoint_url_invalid"),
        ("https://0177.0.0.1/", "endpoint_url_invalid"),
        ("https://shop.example:6379/", "endpoint_url_invalid"),
        ("https://localhost/", "endpoint_url_invalid"),
        ("https://user:secret@shop.example/", "parameter_invalid"),
        ("ftp://shop.example/", "parameter_invalid"),
    ],
)
def test_a_bad_address_is_refused_at_a_change_and_nothing_is_changed(
    api: Api, url: str, url_wanted: str, code: str
) -> None:
    made = create(api, url, event_types=["payment.*"])
    path = f"/v1/webhook_endpoints/{made['id']}"
    answer = api.patch(path, {"url": url_wanted, "event_types": ["*"]})
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["param"]) == (400, code, "url")
    left = api.get(path).json()
    assert (left["url"], left["event_types"]) == (url, ["payment.*"])


@pytest.mark.parametrize("hours", [0, 168])
def test_a_rotation_takes_an_overlap(api: Api, url: str, hours: int) -> None:
    path = f"/v1/webhook_endpoints/{create(api, url)['id']}/rotate_secret"
    before = datetime.now(UTC)
    assert api.post(path, {"overlap_hours": hours}).status_code == 200
    row = WebhookEndpoint.objects.get(pk=path.split("/")[3])
    assert len(endpoints.secrets_of(row, now=before)) == (2 if hours else 1)
    if hours:
        assert row.previous_secret_expires_at is not None
        assert row.previous_secret_expires_at >= before + timedelta(hours=hours)


@pytest.mark.parametrize("hours", [-1, 169, 1.0, "24", True, None])
def test_an_overlap_that_is_none_is_refused(api: Api, url: str, hours: object) -> None:
    path = f"/v1/webhook_endpoints/{create(api, url)['id']}/rotate_secret"
    answer = api.post(path, {"overlap_hours": hours})
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (400, "parameter_invalid")
    assert error["param"] == "overlap_hours"


def test_a_repeat_of_a_rotation_rotates_once_and_does_not_show_the_secret(
    api: Api, url: str
) -> None:
    endpoint_id = create(api, url)["id"]
    path, key = f"/v1/webhook_endpoints/{endpoint_id}/rotate_secret", new_key()
    secret = api.post(path, idempotency_key=key).json()["secret"]
    again = api.post(path, idempotency_key=key)
    assert (again.status_code, again["Idempotent-Replayed"]) == (200, "true")
    assert "secret" not in again.json()
    row = WebhookEndpoint.objects.get(pk=endpoint_id)
    assert endpoints.secrets_of(row, now=datetime.now(UTC))[0] == secret
    other = api.post(path, {"overlap_hours": 0}, idempotency_key=key)
    assert (other.status_code, error_of(other)["code"]) == (422, "idempotency_key_reused")


def test_endpoints_come_in_pages(api: Api, url: str) -> None:
    ids = [str(create(api, f"{url}/{number}")["id"]) for number in range(3)][::-1]
    first = api.get("/v1/webhook_endpoints?limit=2").json()
    assert ([row["id"] for row in first["data"]], first["has_more"]) == (ids[:2], True)
    rest = api.get(f"/v1/webhook_endpoints?starting_after={ids[1]}").json()
    assert ([row["id"] for row in rest["data"]], rest["has_more"]) == (ids[2:], False)
