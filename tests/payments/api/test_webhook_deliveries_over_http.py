"""Deliveries over HTTP: what became of each, sent again, recovered, tested."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.payments.api.conftest import Api, error_of
from tests.payments.api.test_scopes import with_scopes
from tests.payments.shop import Shop, new_key
from webhooks.models import EndpointHour, MerchantDelivery


@pytest.fixture
def endpoint(api: Api, receiver_port: int) -> str:
    answer = api.post("/v1/webhook_endpoints", {"url": f"http://127.0.0.1:{receiver_port}/events"})
    return f"/v1/webhook_endpoints/{answer.json()['id']}"


def end(delivery_id: str, status: str) -> None:
    MerchantDelivery.objects.filter(pk=delivery_id).update(
        status=status, reason="a test", due_at=None, lease_until=None
    )


def test_a_test_event_is_a_delivery_that_can_be_retrieved_and_listed(
    api: Api, endpoint: str
) -> None:
    made = api.post(f"{endpoint}/test")
    assert made.status_code == 201
    body = made.json()
    assert (body["object"], body["event_type"]) == ("webhook_delivery", "endpoint.test")
    found = api.get(f"{endpoint}/deliveries/{body['id']}").json()
    assert found["event"] == body["event"]
    assert isinstance(found["attempt_log"], list)
    listed = api.get(f"{endpoint}/deliveries").json()["data"]
    assert [one["id"] for one in listed] == [body["id"]]


def test_the_list_is_filtered_by_status_and_paged(api: Api, endpoint: str) -> None:
    made = [api.post(f"{endpoint}/test").json()["id"] for _ in range(3)]
    end(made[0], "dead")
    dead = api.get(f"{endpoint}/deliveries?status=dead").json()["data"]
    assert [one["id"] for one in dead] == [made[0]]
    page = api.get(f"{endpoint}/deliveries?limit=2").json()
    assert ([one["id"] for one in page["data"]], page["has_more"]) == ([made[2], made[1]], True)
    rest = api.get(f"{endpoint}/deliveries?starting_after={made[1]}").json()["data"]
    assert [one["id"] for one in rest] == [made[0]]
    wrong = api.get(f"{endpoint}/deliveries?status=lost")
    assert (wrong.status_code, error_of(wrong)["param"]) == (400, "status")


def test_a_dead_one_is_sent_again(api: Api, endpoint: str) -> None:
    made = api.post(f"{endpoint}/test").json()["id"]
    end(made, "dead")
    sent = api.post(f"{endpoint}/deliveries/{made}/resend")
    assert (sent.status_code, sent.json()["status"]) == (200, "pending")


def test_what_failed_since_a_moment_is_recovered_once_per_key(api: Api, endpoint: str) -> None:
    made = [api.post(f"{endpoint}/test").json()["id"] for _ in range(2)]
    for one in made:
        end(one, "dead")
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    key = new_key()
    for _ in range(2):
        answer = api.post(f"{endpoint}/recover", {"since": since}, idempotency_key=key)
        assert answer.status_code == 200
        assert (answer.json()["recovered"], answer.json()["has_more"]) == (2, False)


def test_what_is_missing_is_sent_when_it_is_asked_for(api: Api, endpoint: str) -> None:
    made = api.post(f"{endpoint}/test").json()["id"]
    end(made, "dead")
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    asked = {"since": since, "include": ["failed", "missing"]}
    answer = api.post(f"{endpoint}/recover", asked).json()
    assert (answer["recovered"] >= 1, answer["missing"] >= 0) == (True, True)
    for wrong in ([], ["all"], "failed"):
        refused = api.post(f"{endpoint}/recover", {"since": since, "include": wrong})
        assert refused.status_code == 400
        assert error_of(refused)["param"].startswith("include")


def test_an_endpoint_says_how_many_requests_of_the_last_day_succeeded(
    api: Api, endpoint: str
) -> None:
    assert api.get(endpoint).json()["success_ratio"] is None
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    EndpointHour.objects.create(
        endpoint_id=endpoint.rpartition("/")[2], hour=hour, succeeded=2, failed=1
    )
    assert api.get(endpoint).json()["success_ratio"] == 0.6667
    listed = api.get("/v1/webhook_endpoints").json()["data"][0]
    assert listed["success_ratio"] == 0.6667


@pytest.mark.parametrize("since", ["yesterday", "2020-01-01T00:00:00Z", "2026-11-20T12:00:00"])
def test_a_moment_that_is_none_or_too_old_is_refused(api: Api, endpoint: str, since: str) -> None:
    answer = api.post(f"{endpoint}/recover", {"since": since})
    assert (answer.status_code, error_of(answer)["param"]) == (400, "since")


def test_an_endpoint_that_is_switched_off_sends_nothing_again(api: Api, endpoint: str) -> None:
    made = api.post(f"{endpoint}/test").json()["id"]
    api.patch(endpoint, {"enabled": False})
    assert api.get(f"{endpoint}/deliveries/{made}").json()["status"] == "discarded"
    for path in (f"{endpoint}/test", f"{endpoint}/deliveries/{made}/resend"):
        answer = api.post(path)
        assert answer.status_code == 400
        assert "enable it first" in error_of(answer)["message"]


def test_another_merchants_and_an_absent_one_are_the_same_404(
    api: Api, another_api: Api, endpoint: str
) -> None:
    made = api.post(f"{endpoint}/test").json()["id"]
    absent = f"/v1/webhook_endpoints/we_{'0' * 26}"
    since = {"since": datetime.now(UTC).isoformat()}
    for path in (endpoint, absent):
        answers = [
            another_api.get(f"{path}/deliveries"),
            another_api.get(f"{path}/deliveries/{made}"),
            another_api.post(f"{path}/deliveries/{made}/resend"),
            another_api.post(f"{path}/recover", since),
            another_api.post(f"{path}/test"),
        ]
        assert [answer.status_code for answer in answers] == [404] * 5


def test_each_post_does_its_work_once_per_key(api: Api, endpoint: str) -> None:
    key = new_key()
    first, second = [api.post(f"{endpoint}/test", idempotency_key=key) for _ in range(2)]
    assert second["Idempotent-Replayed"] == "true"
    assert first.json() == second.json()
    made = first.json()["id"]
    assert [one["id"] for one in api.get(f"{endpoint}/deliveries").json()["data"]] == [made]
    end(made, "dead")
    key = new_key()
    resend = f"{endpoint}/deliveries/{made}/resend"
    assert api.post(resend, idempotency_key=key).json()["status"] == "pending"
    end(made, "dead")
    again = api.post(resend, idempotency_key=key)
    assert (again["Idempotent-Replayed"], again.json()["status"]) == ("true", "pending")
    assert api.get(f"{endpoint}/deliveries/{made}").json()["status"] == "dead"
    key, since = new_key(), (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    recover = f"{endpoint}/recover"
    assert api.post(recover, {"since": since}, idempotency_key=key).json()["recovered"] == 1
    end(made, "dead")
    again = api.post(recover, {"since": since}, idempotency_key=key)
    assert (again["Idempotent-Replayed"], again.json()["recovered"]) == ("true", 1)
    assert api.get(f"{endpoint}/deliveries/{made}").json()["status"] == "dead"


def test_a_key_is_good_for_one_of_the_posts_only(api: Api, endpoint: str) -> None:
    key = new_key()
    made = api.post(f"{endpoint}/test", idempotency_key=key).json()["id"]
    since = {"since": (datetime.now(UTC) - timedelta(hours=1)).isoformat()}
    for path, body in (
        (f"{endpoint}/deliveries/{made}/resend", None),
        (f"{endpoint}/recover", since),
        (f"{endpoint}/rotate_secret", None),
    ):
        refused = api.post(path, body, idempotency_key=key)
        assert (refused.status_code, error_of(refused)["code"]) == (422, "idempotency_key_reused")


def test_a_restricted_key_sends_again_with_the_scope_to_change_and_not_with_that_to_read(
    shop: Shop, api: Api, endpoint: str
) -> None:
    made = api.post(f"{endpoint}/test").json()["id"]
    since = {"since": (datetime.now(UTC) - timedelta(hours=1)).isoformat()}
    posts = (
        (f"{endpoint}/test", None),
        (f"{endpoint}/deliveries/{made}/resend", None),
        (f"{endpoint}/recover", since),
        (f"{endpoint}/rotate_secret", None),
    )
    reader = with_scopes(shop, "webhook_endpoints:read", "events:read", "payments:write")
    assert reader.get(f"{endpoint}/deliveries/{made}").status_code == 200
    for path, body in posts:
        refused = reader.post(path, body)
        assert (refused.status_code, error_of(refused)["code"]) == (403, "scope_missing")
        assert error_of(refused)["required_scope"] == "webhook_endpoints:write"
    assert len(api.get(f"{endpoint}/deliveries").json()["data"]) == 1
    writer = with_scopes(shop, "webhook_endpoints:write")
    for path, body in posts:
        assert writer.post(path, body).status_code in (200, 201)
