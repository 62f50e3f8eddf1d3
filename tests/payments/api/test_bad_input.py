"""Bad input: each kind gets its documented refusal and leaves no row behind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from payments.errors import ErrorCode
from payments.models import IdempotencyKey, Payment
from tests.payments.api.conftest import Api, error_of, payment_body, payment_count
from tests.payments.shop import Shop

GOOD = payment_body()


def raw(**texts: str) -> bytes:
    """A good body with some members written by hand."""
    members = {name: json.dumps(value) for name, value in GOOD.items()} | texts
    return ("{" + ",".join(f'"{name}":{text}' for name, text in members.items()) + "}").encode()


BAD_BODIES: dict[str, tuple[bytes, str, str]] = {
    "nothing": (b"", "amount_invalid", "amount_minor"),
    "no JSON": (b"{", "json_invalid", ""),
    "a list": (b"[]", "json_invalid", ""),
    "a number": (b"5", "json_invalid", ""),
    "null": (b"null", "json_invalid", ""),
    "two objects": (b"{}{}", "json_invalid", ""),
    "invalid UTF-8": (raw(description='"\xff"').replace(b"\xc3\xbf", b"\xff"), "json_invalid", ""),
    "a byte order mark": (b"\xef\xbb\xbf" + raw(), "json_invalid", ""),
    "UTF-16": (raw().decode().encode("utf-16"), "json_invalid", ""),
    "a name twice": (raw()[:-1] + b',"currency":"USD"}', "json_invalid", "currency"),
    "a name twice inside": (raw(metadata='{"a":"1","a":"2"}'), "json_invalid", "a"),
    "NaN": (raw(amount_minor="NaN"), "json_invalid", ""),
    "Infinity": (raw(amount_minor="-Infinity"), "json_invalid", ""),
    "5,000 digits": (raw(amount_minor="1" * 5000), "json_invalid", ""),
    "nested 100,000 deep": (b'{"metadata":' + b"[" * 100_000, "json_invalid", ""),
    "NUL": (raw(description='"a\\u0000b"'), "json_invalid", ""),
    "NUL in a name": (raw(metadata='{"\\u0000":"x"}'), "json_invalid", ""),
    "half a surrogate pair": (raw(description='"\\ud800"'), "json_invalid", ""),
    "no amount": (b'{"currency":"EUR"}', "amount_invalid", "amount_minor"),
    "amount 0": (raw(amount_minor="0"), "amount_invalid", "amount_minor"),
    "amount -1": (raw(amount_minor="-1"), "amount_invalid", "amount_minor"),
    "amount 2^63": (raw(amount_minor=str(2**63)), "amount_invalid", "amount_minor"),
    "amount 2^53": (raw(amount_minor=str(2**53)), "amount_invalid", "amount_minor"),
    "amount 12.0": (raw(amount_minor="12.0"), "amount_invalid", "amount_minor"),
    "amount 12.5": (raw(amount_minor="12.5"), "amount_invalid", "amount_minor"),
    "amount 1e3": (raw(amount_minor="1e3"), "amount_invalid", "amount_minor"),
    "amount 1e999": (raw(amount_minor="1e999"), "amount_invalid", "amount_minor"),
    "amount as text": (raw(amount_minor='"4200"'), "amount_invalid", "amount_minor"),
    "amount true": (raw(amount_minor="true"), "amount_invalid", "amount_minor"),
    "amount null": (raw(amount_minor="null"), "amount_invalid", "amount_minor"),
    "amount [1]": (raw(amount_minor="[1]"), "amount_invalid", "amount_minor"),
    "unknown currency": (raw(currency='"XYZ"'), "currency_invalid", "currency"),
    "small currency": (raw(currency='"eur"'), "currency_invalid", "currency"),
    "currency number": (raw(currency="978"), "currency_invalid", "currency"),
    "currency null": (raw(currency="null"), "currency_invalid", "currency"),
    "confirm 1": (raw(confirm="1"), "parameter_invalid", "confirm"),
    "confirm text": (raw(confirm='"true"'), "parameter_invalid", "confirm"),
    "unknown parameter": (raw(amount="1"), "parameter_unknown", "amount"),
    "unknown method": (raw(capture_method='"later"'), "parameter_invalid", "capture_method"),
    "method of a list": (raw(capture_method="[]"), "parameter_invalid", "capture_method"),
    "description number": (raw(description="5"), "parameter_invalid", "description"),
    "long description": (raw(description=f'"{"x" * 501}"'), "parameter_invalid", "description"),
    "no payment method": (raw(payment_method='""'), "parameter_invalid", "payment_method"),
    "card number": (
        raw(payment_method='"4242 4242 4242 4242"'),
        "card_data_refused",
        "payment_method",
    ),
    "card number in words": (
        raw(description='"my card is 4242-4242-4242-4242."'),
        "card_data_refused",
        "description",
    ),
    "card number in metadata": (
        raw(metadata='{"card":"5555555555554444"}'),
        "card_data_refused",
        "metadata.card",
    ),
    "metadata list": (raw(metadata="[]"), "parameter_invalid", "metadata"),
    "metadata number": (raw(metadata='{"a":1}'), "parameter_invalid", "metadata.a"),
    "metadata nested": (raw(metadata='{"a":{}}'), "parameter_invalid", "metadata.a"),
    "long metadata value": (
        raw(metadata=json.dumps({"a": "x" * 501})),
        "parameter_invalid",
        "metadata.a",
    ),
    "long metadata name": (
        raw(metadata=json.dumps({"a" * 41: "x"})),
        "parameter_invalid",
        "metadata." + "a" * 40,
    ),
    "51 pairs of metadata": (
        raw(metadata=json.dumps({str(number): "x" for number in range(51)})),
        "parameter_invalid",
        "metadata",
    ),
    "relative return address": (raw(return_url='"/back"'), "parameter_invalid", "return_url"),
    "script as return address": (
        raw(return_url='"javascript:alert(1)"'),
        "parameter_invalid",
        "return_url",
    ),
    "password in return address": (
        raw(return_url='"https://a:b@shop.example/"'),
        "parameter_invalid",
        "return_url",
    ),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_refused_and_leaves_nothing(name: str, api: Api, shop: Shop) -> None:
    body, code, param = BAD_BODIES[name]
    answer = api.post("/v1/payments", body)
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (ErrorCode[code].status, code), error
    assert error["param"] == (param or None), error
    assert error["request_id"] == answer["Request-Id"]
    assert payment_count(shop) == 0
    assert not IdempotencyKey.objects.filter(merchant=shop.merchant).exists()


def test_a_body_of_two_megabytes_is_413(api: Api, shop: Shop) -> None:
    answer = api.post("/v1/payments", raw(description='"' + "x" * 2_000_000 + '"'))
    assert (answer.status_code, error_of(answer)["code"]) == (413, "body_too_large")
    assert payment_count(shop) == 0


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_other_media_types_are_415(api: Api, content_type: str) -> None:
    answer = api.post("/v1/payments", raw(), **{"Content-Type": content_type})
    assert (answer.status_code, error_of(answer)["code"]) == (415, "unsupported_media_type")


def test_json_with_a_charset_is_json(api: Api) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert api.post("/v1/payments", raw(), **headers).status_code == 201


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("limit=0", "parameter_invalid", "limit"),
        ("limit=101", "parameter_invalid", "limit"),
        ("limit=ten", "parameter_invalid", "limit"),
        ("limit=%D9%A1", "parameter_invalid", "limit"),
        ("limit=", "parameter_invalid", "limit"),
        ("limit=1&limit=2", "parameter_invalid", "limit"),
        ("starting_after=x'--", "parameter_invalid", "starting_after"),
        ("starting_after=pay_%00", "parameter_invalid", "starting_after"),
        ("starting_after=pay_1&ending_before=pay_2", "parameter_invalid", "ending_before"),
        ("status=unheard", "parameter_invalid", "status"),
        ("merchant_reference=%00", "parameter_invalid", "merchant_reference"),
        ("created_from=yesterday", "parameter_invalid", "created_from"),
        ("created_from=2026-11-20T12:00:00", "parameter_invalid", "created_from"),
        ("created_from=0001-01-01T00:00:00%2B23:59", "parameter_invalid", "created_from"),
        ("created_from=2026-13-40T12:00:00Z", "parameter_invalid", "created_from"),
        ("page=2", "parameter_unknown", "page"),
    ],
)
def test_a_bad_query_is_refused(api: Api, query: str, code: str, param: str) -> None:
    error = error_of(api.get(f"/v1/payments?{query}"))
    assert (error["code"], error["param"]) == (code, param)


@pytest.mark.parametrize(
    "path", ["/v1/payments/pay_%00", "/v1/payments/%F0", "/v1/payments/1", "/v1/payments/", "/v1/x"]
)
def test_an_address_that_is_none_is_404_with_an_error_object(api: Api, path: str) -> None:
    answer = api.get(path)
    assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")
    assert answer["Florin-Version"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_a_wrong_method_is_405_and_says_which_are_right(api: Api, method: str) -> None:
    answer: Any = api.client.generic(
        method, "/v1/payments", headers={"Authorization": f"Bearer {api.key}"}
    )
    assert (answer.status_code, error_of(answer)["code"]) == (405, "method_not_allowed")
    assert {"GET", "POST"} <= set(answer["Allow"].split(", "))


def test_what_goes_wrong_in_a_verb_leaves_the_payment_as_it_was(api: Api, shop: Shop) -> None:
    payment = api.create(capture_method="manual")
    path = f"/v1/payments/{payment['id']}"
    for verb, body, code in (
        ("capture", {"amount_minor": 0}, "amount_invalid"),
        ("capture", {"amount": 1}, "parameter_unknown"),
        ("cancel", {"reason": "because"}, "parameter_invalid"),
        ("confirm", {"payment_method": 5}, "parameter_invalid"),
    ):
        assert error_of(api.post(f"{path}/{verb}", body))["code"] == code
    assert Payment.objects.get(pk=payment["id"]).version == payment["version"]
    assert IdempotencyKey.objects.filter(merchant=shop.merchant).count() == 1


def test_a_host_we_do_not_serve_gets_an_error_object(api: Api) -> None:
    answer = api.get("/v1/payments", Host="evil.example")
    assert (answer.status_code, error_of(answer)["code"]) == (400, "parameter_invalid")
