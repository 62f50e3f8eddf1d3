"""Card data never reaches us: a request with a card number is refused, and it is nowhere after."""

from __future__ import annotations

import io
import json
import logging
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import structlog
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from payments.models import IdempotencyKey
from tests.card_numbers import card_numbers, written
from tests.payments.api.conftest import Api, error_of, payment_body
from tests.payments.api.test_provider_webhooks_over_http import Sender
from tests.payments.shop import Shop, new_key, open_shop
from tests.processes import RunningProcess

CARD = "4111 1111 1111 1111"
DIGITS = "4111111111111111"


@pytest.fixture(scope="module")
def module_shop(sandbox_psp: RunningProcess) -> Shop:
    return open_shop()


@pytest.fixture
def written_lines() -> Iterator[io.StringIO]:
    """What the configured handler writes to standard error, secrets masked as there, and raw."""
    stream = io.StringIO()
    (configured,) = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter)
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(configured.formatter)
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


def in_the_database(connection_: psycopg.Connection, *needles: str) -> list[str]:
    """Every text, JSON or bytes column of every table that has a row with one of the needles."""
    columns = connection_.execute(
        "SELECT c.table_schema, c.table_name, c.column_name, c.data_type "
        "FROM information_schema.columns c JOIN information_schema.tables t "
        "  USING (table_schema, table_name) "
        "WHERE t.table_type = 'BASE TABLE' "
        "  AND c.table_schema NOT IN ('pg_catalog', 'information_schema') "
        "  AND (c.data_type IN ('text', 'character varying', 'json', 'jsonb', 'bytea', 'ARRAY') "
        "       OR c.data_type IN ('bigint', 'numeric'))"
    ).fetchall()
    assert len(columns) > 100, "this would prove nothing"
    found = []
    for schema, table, column, kind in columns:
        value = sql.SQL("encode({}, 'escape')" if kind == "bytea" else "{}::text").format(
            sql.Identifier(column)
        )
        statement = sql.SQL(
            "SELECT count(*) FROM {} WHERE EXISTS "
            "(SELECT FROM unnest(%s::text[]) n WHERE strpos({}, n) > 0)"
        ).format(sql.Identifier(schema, table), value)
        row = connection_.execute(statement, [list(needles)]).fetchone()
        if row and row[0]:
            found.append(f"{table}.{column}")
    return found


def refused(answer: Any) -> dict[str, Any]:
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (400, "card_data_refused"), error
    assert "token" in error["message"]
    return error


POSITIONS: dict[str, dict[str, Any]] = {
    "payment_method": payment_body(payment_method=CARD),
    "description": payment_body(description=f"my card is {CARD}."),
    "metadata.card": payment_body(metadata={"card": DIGITS}),
    "metadata": payment_body(metadata={DIGITS: "card"}),
    "amount_minor": payment_body(amount_minor=int(DIGITS)),
    "merchant_reference": payment_body(merchant_reference=DIGITS),
    "return_url": payment_body(return_url=f"https://shop.example/{DIGITS}"),
    "card.number": {"card": {"number": DIGITS}},
    "list.1.0": {"list": ["x", [DIGITS]]},
    "": {DIGITS: 1},
}


@pytest.mark.parametrize("param", POSITIONS)
def test_a_card_number_in_a_body_is_refused_and_its_place_is_told(
    param: str, api: Api, shop: Shop
) -> None:
    error = refused(api.post("/v1/payments", POSITIONS[param]))
    assert error["param"] == (param or None)
    assert not IdempotencyKey.objects.filter(merchant=shop.merchant).exists()


@pytest.mark.parametrize(
    "body",
    [
        rb'{"description": "\u0034111111111111111"}',
        rb'{"description": "card\n4111111111111111\t"}',
        '{"description": "４１１１ １１１１ １１１１ １１１１"}'.encode(),
        '{"description": "4111\u00a01111\u00a01111\u00a01111"}'.encode(),
        rb'{"description": "4111\u20131111\u20131111\u20131111"}',
        rb'{"amount_minor": 4111111111111111.0}',
        b'{"broken": 4111111111111111',
        b"4111111111111111",
        b"\xff\xfe 4111111111111111",
    ],
)
def test_no_way_of_writing_hides_a_card_number(body: bytes, api: Api) -> None:
    refused(api.post("/v1/payments", body))


def test_a_card_number_in_a_header_an_address_or_a_query_is_refused(api: Api) -> None:
    assert (
        refused(api.post("/v1/payments", payment_body(), idempotency_key=f"order-{DIGITS}"))[
            "param"
        ]
        == "Idempotency-Key"
    )
    refused(api.get("/v1/payments", **{"X-Anything": CARD}))
    refused(api.get("/v1/payments", Authorization=f"Bearer {DIGITS}"))
    refused(api.get("/v1/payments", **{"Client-Secret": quote(CARD)}))
    refused(api.get("/v1/payments", **{f"X-{DIGITS}": "1"}))
    refused(api.get("/v1/payments", Host=f"{DIGITS}.example"))
    refused(api.get(f"/v1/payments?merchant_reference={DIGITS}"))
    refused(api.get(f"/v1/payments?merchant_reference={quote(CARD)}"))
    refused(api.get("/v1/payments?merchant_reference=4111+1111+1111+1111"))
    refused(api.get(f"/v1/payments?{DIGITS}=1"))
    refused(api.get(f"/v1/payments/{DIGITS}"))
    refused(api.get(f"/v1/payments/pay_{DIGITS}"))
    refused(api.get(f"/v1/nowhere/{quote(CARD)}"))
    refused(api.post(f"/webhooks/sandbox/{DIGITS}", b"{}", idempotency_key=None))


def test_a_page_is_no_way_in_either() -> None:
    for path in (f"/docs/errors?q={DIGITS}", f"/admin/login/?next={DIGITS}", f"/x/{DIGITS}"):
        answer: Any = Client().get(path)
        assert answer.status_code == 400
        assert DIGITS.encode() not in answer.content
    form = {"username": CARD, "password": "x"}
    assert Client().post("/admin/login/", form).status_code == 400
    encoded = f"username={quote(CARD)}"
    answer = Client().post(
        "/admin/login/", encoded, content_type="application/x-www-form-urlencoded"
    )
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "harmless",
    [
        {"merchant_reference": "order-1763640000000"},
        {"merchant_reference": "9999999999999995"},
        {"metadata": {"phone": "+4915112345672", "at": "1795168800000", "id": "4111111111111112"}},
        {"metadata": {"uuid": "50180000-0009-4111-8111-111111111111", "pay": f"pay_{'0' * 26}"}},
        {"metadata": {"iso": "2026-11-20 12:00:00", "hex": "deadbeef4111111111111111"}},
    ],
)
def test_what_only_looks_similar_passes(harmless: dict[str, Any], api: Api) -> None:
    if "merchant_reference" in harmless:
        harmless = {
            "merchant_reference": f"{harmless['merchant_reference']}/{secrets.token_hex(4)}"
        }
    assert api.post("/v1/payments", payment_body(**harmless)).status_code == 201


def test_numbers_that_tracing_adds_to_a_request_pass(api: Api) -> None:
    headers = {
        "X-Datadog-Trace-Id": DIGITS,
        "traceparent": f"00-{'1' * 32}-4111111111111111-01",
        "X-Request-Id": DIGITS,
    }
    assert api.get("/v1/payments", **headers).status_code == 200


def test_the_refusal_is_counted_and_logged_without_the_number(
    api: Api, written_lines: io.StringIO
) -> None:
    def count() -> float:
        metrics = Client(REMOTE_ADDR="127.0.0.1").get("/metrics").content.decode()
        name = 'florin_card_numbers_refused_total{where="body"}'
        found = [line for line in metrics.splitlines() if line.startswith(name)]
        return float(found[0].split()[1]) if found else 0.0

    before = count()
    refused(api.post("/v1/payments", payment_body(description=CARD)))
    assert count() == before + 1
    lines = written_lines.getvalue()
    assert "card_data.refused" in lines
    assert CARD not in lines
    assert DIGITS not in lines


def test_a_number_in_somebody_elses_words_is_masked_in_the_logs(
    written_lines: io.StringIO,
) -> None:
    try:
        raise ValueError(f"cannot read\n{DIGITS}")
    except ValueError:
        logging.getLogger("some.library").exception("failed with %s", CARD)
    lines = written_lines.getvalue()
    assert "411111******1111" in lines
    assert DIGITS not in lines
    assert CARD not in lines


def test_a_webhook_of_the_provider_keeps_its_news_and_loses_a_number(
    api: Api, shop: Shop, owner_connection: psycopg.Connection
) -> None:
    payment = api.create()
    sender = Sender(shop)
    event = sender.event(payment["id"])
    number = "5555555555554444"
    event["data"] = {**event["data"], "note": f"paid with {number}", number: int(number)}
    raw = json.dumps(event).encode()
    answer = sender.post(raw, {**sender.headers(raw), "X-Note": number, f"X-{number}": "1"})
    assert answer.status_code == 200, answer.content
    assert in_the_database(owner_connection, number) == []
    shop.drain()
    assert shop.payment(payment["id"]).state == "captured"


def test_an_unsigned_webhook_with_a_number_leaves_nothing(
    shop: Shop, owner_connection: psycopg.Connection, written_lines: io.StringIO
) -> None:
    number = "2223003122003222"
    answer = Sender(shop).post(json.dumps({"id": number, "note": number}).encode(), {})
    assert (answer.status_code, error_of(answer)["code"]) == (400, "signature_invalid")
    assert number.encode() not in answer.content
    assert number not in written_lines.getvalue()
    assert in_the_database(owner_connection, number) == []


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_card_number_anywhere_in_any_request_is_refused_and_kept_nowhere(
    data: st.DataObject,
    module_shop: Shop,
    written_lines: io.StringIO,
    owner_connection: psycopg.Connection,
) -> None:
    number = data.draw(card_numbers())
    text = data.draw(written(number))
    api = Api(data.draw(st.sampled_from([module_shop.secret_key, module_shop.publishable_key, ""])))
    method, path, body = data.draw(st.sampled_from(routes(module_shop)))
    headers = {"Idempotency-Key": new_key()} if method == "POST" else {}
    where = data.draw(st.sampled_from(["body", "header", "query", "path", "key"]))
    if where == "header":
        name = data.draw(st.sampled_from(["Idempotency-Key", "Client-Secret", "User-Agent", "X-A"]))
        headers[name] = f"order {text}"
    elif where == "query":
        path += f"?{data.draw(st.sampled_from(['email', 'merchant_reference']))}={quote(text)}"
    elif where == "path":
        path += f"/{quote(text)}"
    else:
        place = number if where == "key" else "value"
        body = data.draw(placed({**body, place: text}, place, text))
        method = "POST" if method == "GET" else method
    answer = api._call(method, path, body if method != "GET" else None, headers)
    refused(answer)
    assert text.encode() not in answer.content
    assert number.encode() not in answer.content
    assert text not in written_lines.getvalue()
    assert number not in written_lines.getvalue()
    if data.draw(st.integers(0, 9)) == 0:  # reading every table each time would take minutes
        assert in_the_database(owner_connection, number, text) == []


@st.composite
def placed(draw: st.DrawFn, body: dict[str, Any], name: str, text: str) -> dict[str, Any]:
    """The value where it was put, or deeper, or as a number, or under a member of a known name."""
    value: Any = body.pop(name)
    for _ in range(draw(st.integers(0, 3))):
        value = draw(st.sampled_from([[value], {"a": value}, ["x", value, 1]]))
    if text.isdecimal() and value is text and draw(st.booleans()):
        value = int(text)
    known = sorted({*body, "description", "metadata", "token"})
    chosen = name if name != "value" else draw(st.sampled_from(known))
    return {**body, chosen: value}


def routes(shop: Shop) -> list[tuple[str, str, dict[str, Any]]]:
    """One request per address that takes one, good but for the number."""
    payment = "/v1/payments/pay_01kafr7xh8f0v9d3m2c5t6b7ne"
    customer = "/v1/customers/cus_01kafr7xh8f0v9d3m2c5t6b7ne"
    return [
        ("POST", "/v1/payments", payment_body()),
        ("GET", "/v1/payments", {}),
        ("GET", payment, {}),
        ("POST", f"{payment}/confirm", {"payment_method": "tok_visa"}),
        ("POST", f"{payment}/capture", {}),
        ("POST", f"{payment}/cancel", {}),
        ("POST", f"{payment}/refunds", {}),
        ("POST", "/v1/customers", {"email": "dana@example.com", "name": "Dana"}),
        ("GET", "/v1/customers", {}),
        ("POST", customer, {"name": "Dana"}),
        ("POST", f"{customer}/payment_methods", {"token": "tok_visa"}),
        ("POST", "/v1/payment_methods/pm_01kafr7xh8f0v9d3m2c5t6b7ne/remove", {}),
        ("POST", "/v1/webhook_endpoints", {"url": "https://shop.example/x"}),
        ("PATCH", "/v1/webhook_endpoints/we_01kafr7xh8f0v9d3m2c5t6b7ne", {}),
        ("GET", "/v1/events", {}),
        ("GET", "/v1/balance", {}),
        ("GET", f"/v1/client{payment[3:]}", {}),
        ("POST", "/v1/nowhere", {}),
    ]


def test_looking_into_every_column_finds_what_is_there(
    shop: Shop, owner_connection: psycopg.Connection
) -> None:
    needle = f"needle-{secrets.token_hex(8)}"
    shop.created(description=f"a {needle} here")
    assert "payments_payment.description" in in_the_database(owner_connection, needle)
    assert connection.in_atomic_block is False
